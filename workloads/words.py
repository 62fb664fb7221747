"""Words of a command line: arguments that bash hands on to the letter, and the values that options have in them."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Iterator, Sequence

PARAMETER = "Ref::"
"""Prefix of a placeholder that AWS Batch replaces in a command (Batch User Guide, "Parameters" of job definitions)."""


class LiteralWord(str):
    """A word in which nothing expands: what a person gave a program is data, a `$` in it too."""

    __slots__ = ()


def literal(word: str) -> str:
    """Return a word of one line that bash reads as exactly this word, anywhere in a script of ours.

    Line breaks and other control characters are written as escapes: scripts are carried in here-documents, whose last
    line a word could otherwise be, and are indented. So are bytes that are no text, and a placeholder of AWS Batch.
    """
    if word.isprintable() and PARAMETER not in word:
        return shlex.quote(word)
    escaped = "".join(map(_escaped, word)).replace(PARAMETER, PARAMETER.replace(":", r"\072"))
    return f"$'{escaped}'"


def _escaped(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    if character.isprintable():
        return character
    # Three digits always: a digit that follows is not taken for one of the escape's.
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))


def option_values(arguments: Sequence[str]) -> dict[str, str]:
    """Return the values of options in arguments by name, without dashes; the last one counts, as argparse has it.

    Both `--name=value` and `--name value` are read. An option without a value has an empty one, and `--no-name` takes
    back a `--name` before it. Words that belong to no option are left out.
    """
    found: dict[str, str] = {}
    for name, value in _options(arguments):
        if name.startswith("no-"):
            found.pop(name.removeprefix("no-"), None)
        found[name] = value
    return found


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the options of arguments without dashes, each with its value: empty where it has none."""
    name = ""
    for word in arguments:
        if word.startswith("--") and word != "--":
            if name:
                yield name, ""
            name, equals, value = word[2:].partition("=")
            if equals:
                yield name, value
                name = ""
        elif name:
            yield name, word
            name = ""
    if name:
        yield name, ""


def is_off(arguments: Sequence[str], name: str) -> bool:
    """Return whether arguments give a name of NAME=VALUE the value false or null, as YAML and OmegaConf write both."""
    value = argument_value(arguments, name)
    return value is not None and value.lower() in ("false", "null", "none")


def size(value: str) -> int | None:
    """Return the number of an option's value; None where it is none from 1: -1 means to some that they decide."""
    return (int(value) or None) if value.isascii() and value.isdecimal() else None


def size_of(arguments: Sequence[str], name: str) -> int | None:
    """Return the number from 1 that an option has in arguments; None where it has none, or another value."""
    value = argument_value(arguments, name) if name else None
    return None if value is None else size(value)


def argument_value(arguments: Sequence[str], name: str) -> str | None:
    """Return the value of an option in arguments, the last one; None where they do not have it.

    `--name` is read as `option_values` does, with `_` as `-`, which tyro takes for it. `--name=KEY` is a key of an
    option that may be there several times, each with KEY=VALUE. Another name is one of NAME=VALUE, before which Hydra
    takes `+`.
    """
    # Kept: hints ask for the same arguments on hundreds of numbers of nodes. Keys are plain, whatever word is equal.
    return _argument_value(tuple(map(str, arguments)), name)


@functools.lru_cache(maxsize=4096)
def _argument_value(arguments: tuple[str, ...], name: str) -> str | None:
    option, keyed, key = name.partition("=")
    if keyed:
        pairs = [value for each, value in _options(arguments) if f"--{each}" == option]
        return argument_value(pairs, key)
    if name.startswith("--"):
        given = {option.replace("_", "-"): value for option, value in option_values(arguments).items()}
        return given.get(name[2:].replace("_", "-"))
    found = None
    for word in arguments:
        place, equals, value = word.lstrip("+").partition("=")
        if equals and place == name:
            found = value
    return found
