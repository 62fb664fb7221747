"""The arguments of a run's program, checked with the program's own parser before anything starts."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from catalog.finding import Finding, Severity
from catalog.spelling import did_you_mean
from workloads import registry
from workloads.own_code import error_text
from workloads.shared_options import SharedOptions
from workloads.spec import Run, Workload

_RUNTIME = Path(__file__).parent / "runtime"
_OPTION = re.compile(r"(?<![\w-])--[A-Za-z0-9][\w.-]*")
_UNKNOWN = "unrecognized arguments: "
_HELP = frozenset(("-h", "--help"))


@dataclass(frozen=True, slots=True)
class _Answer:
    """The result of a program's own command line parser: an exit code, and the printed text."""

    code: int
    output: str


def check_arguments(run: Run, shares: SharedOptions | None = None) -> Iterator[Finding]:
    """Yield what is wrong with the arguments that are appended to a run's program.

    A program whose options are not known here (`Workload.options`) judges them when it starts. `shares` are the options
    that a stage shares with the training: where the stage refuses one of the training's, the hint has its own.
    """
    for word in run.extra_arguments:
        if "\0" in word or not _is_text(word):
            yield _error(word, f"{word!r} cannot be an argument of a program", "leave the character out")
            return
    if not (run.extra_arguments and run.workload.options):
        return
    try:
        answer = _answer(run.workload, run.arguments)
    except Exception as error:
        if run.workload.folder is None:
            raise
        message, hint = error_text(error, run.workload.folder)
        yield _error(shlex.join(run.extra_arguments), message, hint)
        return
    if answer.code:
        usage, _, message = answer.output.strip().rpartition(": error: ")
        own = _own_words(message, shares)
        yield _error(
            shlex.join(run.extra_arguments),
            f"{run.workload.name} refuses its arguments: "
            f"{message if own else _suggested(message, _OPTION.findall(usage))}",
            f"the stage '{run.stage_name}' takes that as {shlex.join(own)}"
            if own
            else f"'trainforge launch {run.workload.name} --on local -- --help' explains its options",
        )


def program_help(workload: Workload, arguments: Sequence[str]) -> str:
    """Return the help of a workload's program where the arguments ask for it and its options are known here."""
    if not workload.options or _HELP.isdisjoint(arguments):
        return ""
    return _answer(workload, ["--help"]).output


def _is_text(word: str) -> bool:
    try:
        word.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _error(value: str, message: str, hint: str) -> Finding:
    return Finding("run-arguments", Severity.ERROR, "arguments", value, message, hint)


def _own_words(message: str, shares: SharedOptions | None) -> tuple[str, ...]:
    """Return a stage's own words for the training's options that a message of argparse calls unknown."""
    if shares is None or not message.startswith(_UNKNOWN):
        return ()
    return shares.words(message.removeprefix(_UNKNOWN).split())


def _suggested(message: str, options: Sequence[str]) -> str:
    """Return a message of argparse with the option that an unknown one probably stands for."""
    if not message.startswith(_UNKNOWN):
        return message
    unknown = _OPTION.match(message.removeprefix(_UNKNOWN))
    return message + (did_you_mean(unknown[0], dict.fromkeys(options)) if unknown else "")


def _answer(workload: Workload, arguments: Sequence[str]) -> _Answer:
    """Return what the program's own function makes of arguments."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            _reader(registry.folder(workload), workload.options, workload.packages)(list(arguments))
    except SystemExit as end:
        return _Answer(end.code if isinstance(end.code, int) else int(bool(end.code)), printed.getvalue())
    return _Answer(0, printed.getvalue())


@cache
def _reader(folder: Path, module: str, packages: tuple[str, ...] = ()) -> Callable[[list[str]], object]:
    """Return the function `options` of a module in a workload's folder, which its program calls too."""
    with _imports_of(folder, packages):
        found: Callable[[list[str]], object] = importlib.import_module(module).options
    return found


@contextlib.contextmanager
def _imports_of(folder: Path, packages: Sequence[str] = ()) -> Iterator[None]:
    """Import as on a node: the program's folder comes first, then the runtime; nothing of it stays importable.

    `packages` are folders of other workloads that it imports.

    Programs may have modules of the same names: what one brought must not be what the next one gets.
    """
    places = [folder, _RUNTIME, *(_RUNTIME.parent / Path(path).parent for path in packages)]
    ours = {path.stem for place in places for path in place.iterdir()}

    def take() -> dict[str, object]:
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in ours}

    before, path, writes = take(), list(sys.path), sys.dont_write_bytecode
    sys.path[:0] = map(str, places)
    # Nothing is written into a folder of the user's own.
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.path[:] = path
        sys.dont_write_bytecode = writes
        take()
        sys.modules.update(before)  # type: ignore[arg-type]
