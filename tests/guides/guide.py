"""A guide as its tests read it: commands with the output that is shown, files, and what cannot be run and why.

In a fenced `console` block a line after `$ ` is a command on the reader's machine, one after
`NAME@HOST:~$ ` a command on a node; a command that ends in a backslash continues in the next line. Other lines are
its output. Comments before a block direct the test, and readers do not see them:

    <!-- guide: not run: REASON -->      the commands of the next block cannot be run here
    <!-- guide: file: PATH -->           the next block is a file in the project's folder
    <!-- guide: node file: NAME -->      the next block is a file in the home directory on a node
    <!-- guide: continues: PAGE -->      the page's commands need what those of that page in its folder leave behind
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\s*$")
_DIRECTIVE = re.compile(r"^ *<!-- guide: (?P<kind>not run|file|node file): (?P<text>.+?) -->$")
_CONTINUES = re.compile(r"^<!-- guide: continues: (?P<page>[\w-]+\.md) -->$", re.MULTILINE)
_ANY_DIRECTIVE = re.compile(r"<!--\s*guide\b")
_PROMPT = re.compile(r"^(?P<host>[a-z0-9-]+@[a-z0-9-]+:~)?\$ (?P<command>.+)$")


class Machine(StrEnum):
    """The machine that a command runs on."""

    HERE = "here"
    NODE = "node"


class GuideError(Exception):
    """A guide is not written as the tests read it. The text names the line."""


@dataclass
class Command:
    """A command of a guide, its line number, and the lines of output that are shown below it."""

    line: int
    machine: Machine
    text: str
    output: list[str] = field(default_factory=list)
    not_run: str = ""


@dataclass(frozen=True)
class GuideFile:
    """A file that a guide shows, with its path relative to the project or to the home on a node."""

    line: int
    machine: Machine
    path: str
    text: str


Step = Command | GuideFile


def read_guide(path: Path) -> list[Step]:
    """Return what a guide does, in order.

    Raises:
        GuideError: a directive that is unknown or has no block, or output before the first command.
    """
    steps: list[Step] = []
    directive: re.Match[str] | None = None
    lines = iter(enumerate(path.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        if fence := _FENCE.match(line):
            block = []
            for _, inner in lines:
                if inner.strip() == "```":
                    break
                block.append(inner.removeprefix(fence["indent"]))
            steps += _steps(number + 1, fence["language"], block, directive)
            directive = None
        elif _CONTINUES.match(line):
            continue
        elif _ANY_DIRECTIVE.search(line):
            directive = _DIRECTIVE.match(line)
            if not directive:
                raise GuideError(f"{path.name}:{number}: '{line.strip()}' is no directive")
        elif directive and line.strip():
            raise GuideError(f"{path.name}:{number}: a block must follow '{directive[0].strip()}'")
    if directive:
        raise GuideError(f"{path.name}: nothing follows '{directive[0].strip()}'")
    return steps


def continued_page(path: Path) -> Path | None:
    """Return the page that a guide continues, or None where a guide begins by itself."""
    found = _CONTINUES.search(path.read_text(encoding="utf-8"))
    return path.with_name(found["page"]) if found else None


def _steps(first: int, language: str, block: list[str], directive: re.Match[str] | None) -> list[Step]:
    kind = directive["kind"] if directive else ""
    if directive and kind in ("file", "node file"):
        machine = Machine.NODE if kind == "node file" else Machine.HERE
        return [GuideFile(first, machine, directive["text"], "\n".join(block) + "\n")]
    if language != "console":
        if directive:
            raise GuideError(f"line {first}: '{kind}' is for console blocks, this one is '{language}'")
        return []
    commands: list[Command] = []
    for number, line in enumerate(block, start=first):
        if commands and commands[-1].text.endswith("\\") and not commands[-1].output:
            commands[-1].text += f"\n{line}"
        elif found := _PROMPT.match(line):
            machine = Machine.NODE if found["host"] else Machine.HERE
            commands.append(
                Command(number, machine, found["command"], not_run=directive["text"] if directive else "")
            )
        elif commands:
            commands[-1].output.append(line)
        else:
            raise GuideError(f"line {number}: output before the first command of a block")
    return list(commands)
