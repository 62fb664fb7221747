"""Answers of nvidia-smi: tables of its queries, by the names of the columns that were asked for."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from .programs import Ran
from .session import NotJudged, Reported, Session, Skipped

SECONDS = 20
"""Seconds for a query: our choice. It takes one or two with 8 GPUs; without persistence mode several more."""

ABSENT = ("[N/A]", "N/A", "[Not Supported]", "Not Supported", "[Not Applicable]")
"""Answers for what a GPU does not have: no fault."""


def program(session: Session) -> str:
    """Return nvidia-smi's path.

    Raises:
        Skipped: the node's type has no GPU.
        NotJudged: it has some, and nvidia-smi is absent.
    """
    expected = session.expected
    if expected is not None and expected.accelerator != "gpu":
        raise Skipped(f"'{expected.instance_type}' has no GPU")
    path = session.find("nvidia-smi")
    if path is None:
        if expected is None:
            raise Skipped("the type is unknown and nvidia-smi is absent")
        raise NotJudged(
            "nvidia-smi is not on PATH; the node's image, or the container toolkit, lacks the driver"
        )
    return path


def ask(session: Session, *arguments: str, seconds: float = SECONDS) -> Ran:
    """Run nvidia-smi; a driver that hangs is a finding, and its answer is not judged further.

    Raises:
        NotJudged: it ended with an error.
        Reported: it did not answer.
        Skipped: the node has no GPU.
    """
    ran = session.run([program(session), *arguments], seconds)
    if ran.timed_out:
        session.found("gpu-answers", "nvidia-smi", ran.end, f"an answer within {seconds:.0f} s")
        raise Reported(ran.end)
    if ran.code != 0:
        raise NotJudged(f"'{ran.command}' {ran.end}")
    return ran


def query(session: Session, columns: Sequence[str], table: str = "gpu") -> list[dict[str, str]]:
    """Return a row for each GPU of `nvidia-smi --query-TABLE`, by column.

    Raises:
        NotJudged: it ended with an error, or a row has another number of columns.
    """
    ran = ask(session, f"--query-{table}={','.join(columns)}", "--format=csv,noheader,nounits")
    rows = []
    for values in csv.reader(io.StringIO(ran.output)):
        if not values:
            continue
        if len(values) != len(columns):
            raise NotJudged(f"'{ran.command}' has a row of {len(values)} columns: {','.join(values)}")
        rows.append({name: values[place].strip() for place, name in enumerate(columns)})
    return rows


def number(text: str, what: str) -> int | None:
    """Return the number of an answer; None for what the GPU does not have.

    Raises:
        NotJudged: it is neither.
    """
    if text in ABSENT:
        return None
    try:
        return int(float(text))
    except ValueError:
        raise NotJudged(f"nvidia-smi answers '{text}' for {what}") from None


def yes(text: str, what: str) -> bool | None:
    """Return the truth of an answer such as Yes, No, 1, 0, Active, Not Active; None for what the GPU does not have.

    Raises:
        NotJudged: it is none of these.
    """
    if text in ABSENT:
        return None
    word = text.lower()
    if word in ("yes", "1", "active", "enabled"):
        return True
    if word in ("no", "0", "not active", "disabled"):
        return False
    raise NotJudged(f"nvidia-smi answers '{text}' for {what}")
