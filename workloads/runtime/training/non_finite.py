"""Steps whose numbers are not finite: their updates are left out, and too many in a row end the run.

Such a gradient comes from a rare batch, an overflow or a faulty device. Applied once, it makes every weight NaN, and a
checkpoint of that would be all that is left of the run.
"""

from __future__ import annotations

import math

from training.errors import DATA, TrainingError, say

MAX_SKIPPED = 10
"""Steps in a row that may be skipped before the run ends, by default."""


class NonFiniteSteps:
    """The steps skipped so far; `in_a_row` of them were the last ones done, `total` since this start.

    The ranks need no further exchange: each gives numbers that were summed over all ranks, so all decide alike.
    """

    def __init__(self, limit: int, *, prints: bool) -> None:
        """Allow `limit` skipped steps in a row, 0 or more; one rank, the one that `tells`, prints the messages."""
        self.in_a_row = 0
        self.total = 0
        self._limit = limit
        self._prints = prints

    def admit(self, step: int, loss: float, norm: float) -> bool:
        """Return whether the update of a step may be applied: its loss and its gradients' norm are finite.

        Raises:
            TrainingError: more steps in a row than the limit were not finite. Exit code 65.
        """
        if math.isfinite(loss) and math.isfinite(norm):
            self.in_a_row = 0
            return True
        self.in_a_row += 1
        self.total += 1
        numbers = f"the loss is {loss} and the norm of the gradients {norm} at step {step}"
        if self.in_a_row > self._limit:
            ends = (
                f"{numbers}; {self.in_a_row} steps in a row were not finite, --max-skipped-steps allows {self._limit}; "
                "no checkpoint was written since; try a lower --learning-rate, or look at the data of these steps"
            )
            # All ranks end alike, and one of them says why.
            raise TrainingError(ends if self._prints else "", DATA)
        if self._prints:
            say(
                f"step {step} is skipped: {numbers} ({self.in_a_row} in a row, at most {self._limit})",
                error=True,
            )
        return False


def check_weights(squares: float, step: int, *, prints: bool) -> None:
    """Check the summed squares of all weights before a checkpoint is written; all ranks give the same number.

    One rank, the one that `tells`, prints the message.

    Raises:
        TrainingError: they are not finite. Exit code 65.
    """
    if not math.isfinite(squares):
        wrong = (
            f"weights are not finite after step {step}, so no checkpoint of it is written; the one before stays; try a "
            "lower --learning-rate"
        )
        raise TrainingError(wrong if prints else "", DATA)
