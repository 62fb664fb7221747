"""A user's value as a finding shows it: short, printable, and never a secret."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from catalog import spelling

MAX_LENGTH = 60
"""Characters of a value that a finding shows."""
LISTED = 20
"""Names that a finding lists."""
COMPARED = 300
"""Names that an unknown one is compared with: a file with thousands of them must not take minutes."""


def shown(value: object) -> str:
    """Return a value as a finding prints it: one line, at most `MAX_LENGTH` characters, nothing secret.

    Control characters are escaped, so that a configuration cannot drive the terminal of whoever reads
    the finding, and texts that look like a private key are not shown.
    """
    match value:
        case str():
            text = value
        case None:
            text = "null"
        case bool():
            text = str(value).lower()
        case dict():
            text = f"a mapping of {len(value)}"
        case list() | tuple():
            text = f"a list of {len(value)}"
        case _:
            text = str(value)
    if "PRIVATE KEY" in text:
        return "(a private key, not shown)"
    return shortened(printable(text))


def printable(text: str) -> str:
    """Return the text with everything that does not print as an escape sequence."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def shortened(text: str, max_length: int = MAX_LENGTH) -> str:
    """Return the text, cut after `longest` characters with the number of those left out."""
    if len(text) <= max_length:
        return text
    return f"{text[:max_length]}... ({len(text)} characters)"


def listed(names: Iterable[object], conjunction: str = "or") -> str:
    """Return names as a sentence holds them: `'a', 'b' or 'c'`; of very many only the first."""
    every = list(names)
    quoted = [f"'{shown(name)}'" for name in every[:LISTED]]
    if len(every) > LISTED:
        quoted.append(f"{len(every) - LISTED} more")
    if len(quoted) < 2:
        return "".join(quoted)
    return f"{', '.join(quoted[:-1])} {conjunction} {quoted[-1]}"


def nearest(name: str, candidates: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """Return the candidates that look most like a name, best first; looks at the first hundreds only."""
    return spelling.nearest(name, islice(candidates, COMPARED), count)


def guess(name: str, candidates: Iterable[str], count: int = 3) -> str:
    """Return what to add to a message about an unknown name: the names that were probably meant, if any."""
    return suggestion(nearest(name, candidates, count))


def suggestion(near: Iterable[str]) -> str:
    """Return what to add to a message about an unknown name of which these were probably meant; nothing without any."""
    return spelling.suggestion(shown(name) for name in near)
