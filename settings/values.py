"""How a user's value is shown in a finding: short, printable, and never a secret."""

from __future__ import annotations

from collections.abc import Iterable

LONGEST = 60
"""Characters of a value that a finding shows."""


def shown(value: object) -> str:
    """Return a value as a finding prints it: one line, at most `LONGEST` characters, nothing secret.

    Control characters are escaped, so that a configuration cannot drive the terminal of whoever reads
    the finding, and what looks like a private key is withheld.
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


def shortened(text: str, longest: int = LONGEST) -> str:
    """Return the text, cut after `longest` characters with the number of those left out."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]}... ({len(text)} characters)"


def listed(names: Iterable[object], conjunction: str = "or") -> str:
    """Return names as a sentence holds them: `'a', 'b' or 'c'`."""
    quoted = [f"'{name}'" for name in names]
    if len(quoted) < 2:
        return "".join(quoted)
    return f"{', '.join(quoted[:-1])} {conjunction} {quoted[-1]}"
