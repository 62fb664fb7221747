"""torchrun's traceback of itself: left out where its ranks have told their reason, and kept in every other case."""

from __future__ import annotations

import pytest
from last_words import LastWords

BEFORE = b"error: 2 checks of the environment failed\n"
TRACEBACK = b"""Traceback (most recent call last):
  File "/venv/bin/torchrun", line 8, in <module>
    sys.exit(main())
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
  exitcode  : 69 (pid: 31)
"""
OWN = b"""Traceback (most recent call last):
  File "/code/train.py", line 3, in <module>
ValueError: torchrun
"""


def written(text: bytes, size: int, codes: list[int]) -> tuple[bytes, bytes]:
    """Return what is written at once and at the end, of a text that comes in pieces."""
    words = LastWords()
    at_once = b"".join(words.passed(text[at : at + size]) for at in range(0, len(text), size))
    return at_once, words.rest(codes)


@pytest.mark.parametrize("size", [20, 40, 1000])
def test_the_traceback_is_left_out_where_the_ranks_have_told_their_reason(size: int) -> None:
    assert written(BEFORE + TRACEBACK, size, [69]) == (BEFORE, b"")
    assert written(TRACEBACK, size, [2, 69]) == (b"", b"")


@pytest.mark.parametrize("size", [20, 40, 1000])
@pytest.mark.parametrize("codes", [[], [1], [-9], [69, -15]], ids=str)
def test_it_is_kept_where_a_rank_has_not(size: int, codes: list[int]) -> None:
    assert written(BEFORE + TRACEBACK, size, codes) == (BEFORE, TRACEBACK)


@pytest.mark.parametrize("size", [1, 7, 40, 1000])
@pytest.mark.parametrize(
    "text",
    [
        OWN,
        OWN[:60],
        OWN[:35],
        b"Traceback (most",
        b"step=1 Traceback (most recent call last):\n",
        b"no line",
        b"\n\n",
    ],
    ids=str,
)
def test_nothing_else_is_left_out(size: int, text: bytes) -> None:
    assert b"".join(written(BEFORE + text, size, [69])) == BEFORE + text


def test_other_output_is_written_at_once() -> None:
    words = LastWords()
    for piece in (b"step=1", b" loss=2\nTrace", b"d\n", OWN):
        assert words.passed(piece) == piece
