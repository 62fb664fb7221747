"""Workloads in a user's own folder, outside the repository, with a `workload.py` or just a `train.py`."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType

from catalog.instance_facts import InstanceFacts
from workloads.launchers import NeuronTorchrun
from workloads.preset import Preset
from workloads.proof import Proof, Proven
from workloads.render.launcher_support import formats_for
from workloads.spec import Format, Workload

DESCRIPTION, PROGRAM = "workload.py", "train.py"
REQUIREMENTS, DOCKERFILE = "requirements.txt", "Dockerfile"

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?")
_RESERVED = frozenset({"base", "code", "images", "launch", "manifests", "render", "runtime"})
"""Names of folders beside those of workloads."""

_VARIABLE = "WORKLOAD"


class OwnCodeError(ValueError):
    """A folder is no workload; `problems` are all reasons, each with what to do."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        self.problems = problems
        super().__init__("; ".join(message for message, _ in problems))


def own_name(reference: str) -> str:
    """Return the name of the workload in a folder; empty where the folder has none."""
    try:
        return own_workload(Path(reference), ()).name
    except OwnCodeError:
        return ""


def is_folder(reference: str) -> bool:
    """Return whether a reference to a workload is a folder and not a name, which has no slash."""
    return "/" in reference or reference in (".", "..", "~")


@cache
def own_workload(folder: Path, taken: tuple[str, ...]) -> Workload:
    """Return the workload of a folder; nothing is written there. `taken` are names that it cannot have.

    Raises:
        OwnCodeError: the folder has none; the message has every reason.
    """
    folder = folder.expanduser().absolute()
    if not folder.is_dir():
        message = f"the folder '{folder}' does not exist"
        if folder.exists():
            message = f"'{folder}' is a file, not a folder"
        raise OwnCodeError([(message, "name the folder of a workload.py or a train.py")])
    folder = folder.resolve()
    if (folder / DESCRIPTION).is_file():
        described = _described(folder)
        if isinstance(described, OwnCodeError):
            raise OwnCodeError(described.problems)
        found = replace(described, folder=folder)
    elif (folder / PROGRAM).is_file():
        found = _default(folder)
    else:
        message = f"'{folder}' has neither a {DESCRIPTION} nor a {PROGRAM}"
        raise OwnCodeError(
            [(message, f"call the program {PROGRAM}, or describe another one in a {DESCRIPTION}")]
        )
    problems = [*_problems(found, folder, taken)]
    if problems:
        raise OwnCodeError(problems)
    return found if found.proofs else replace(found, proofs=_formats(found))


def fitted(workload: Workload, facts: InstanceFacts) -> Workload:
    """Return a workload as it runs on an instance type.

    A folder that has a train.py alone names no launcher, and on Neuron devices torchrun needs more variables.
    """
    if workload.folder is None or (workload.folder / DESCRIPTION).is_file() or not facts.has_neuron:
        return workload
    # The Neuron base has no hyperpodrun.
    proofs = dict(workload.proofs)
    proofs.pop(Format.HYPERPODPYTORCHJOB, None)
    return replace(workload, launcher=NeuronTorchrun(), proofs=MappingProxyType(proofs))


def label(text: str) -> str:
    """Return a name for a workload, which is a DNS label, from the name of a folder; empty where nothing is left."""
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return words.lstrip("0123456789-")[:30].rstrip("-")


def _default(folder: Path) -> Workload:
    return Workload(
        name=label(folder.name),
        title=f"{PROGRAM} of '{folder.name}'",
        presets=MappingProxyType({"default": Preset("default", f"{PROGRAM} without arguments")}),
        resumes=False,
        folder=folder,
    )


def _formats(workload: Workload) -> MappingProxyType[Format, Proven]:
    """Return the formats that can start a workload's launcher, in its image; none is proven.

    An MPIJob needs sshd, which our bases lack: a workload whose image has it names the format itself. A JobSet is for
    workloads with stages.
    """
    absent = {Format.MPIJOB} if workload.stages else {Format.MPIJOB, Format.JOBSET}
    if workload.containers:
        # A TrainJob cannot add one to its runtime.
        absent.add(Format.TRAINJOB)
    if workload.image and "hyperpodrun" not in workload.image.launch_programs:
        absent.add(Format.HYPERPODPYTORCHJOB)
    known = [one for one in formats_for(workload.launcher) if one not in absent]
    return MappingProxyType(dict.fromkeys(known, Proven(Proof.NONE)))


@cache
def _described(folder: Path) -> Workload | OwnCodeError:
    """Import a folder's workload.py and return its WORKLOAD, or an error where it raises or has none.

    It runs once in a process: it may be slow, and what it prints is told once.
    """
    path = folder / DESCRIPTION
    module = importlib.util.module_from_spec(_specification(path))
    assert module.__spec__
    assert module.__spec__.loader
    with _imports_of(folder):
        try:
            module.__spec__.loader.exec_module(module)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # Whatever it does, sys.exit too, is a mistake of the file's and not ours.
            return OwnCodeError([error_text(error, folder)])
    if not hasattr(module, _VARIABLE):
        hint = f"write {_VARIABLE} = Workload(name='my-training', ...), with 'from workloads import Workload'"
        return OwnCodeError([(f"'{path}' has no {_VARIABLE}", hint)])
    found = getattr(module, _VARIABLE)
    if not isinstance(found, Workload):
        message = f"{_VARIABLE} of '{path}' is of the type '{type(found).__name__}'"
        return OwnCodeError([(message, "it must be a Workload: 'from workloads import Workload'")])
    return found


def _specification(path: Path) -> importlib.machinery.ModuleSpec:
    found = importlib.util.spec_from_file_location("_trainforge_own_workload", path)
    assert found
    return found


@contextlib.contextmanager
def _imports_of(folder: Path) -> Iterator[None]:
    """Let a file import what is beside it; of that nothing stays imported, and no bytecode is written there."""
    before, path, writes = set(sys.modules), list(sys.path), sys.dont_write_bytecode
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    try:
        # Standard output is the command's own: a manifest, or JSON.
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        sys.path[:] = path
        sys.dont_write_bytecode = writes
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).is_relative_to(folder):
                del sys.modules[name]


def error_text(error: BaseException, folder: Path) -> tuple[str, str]:
    """Return an error of a folder's code in words, with the line of the user's that it comes from."""
    if isinstance(error, SyntaxError) and error.filename:
        place, number, line = Path(error.filename), error.lineno, (error.text or "").strip()
    else:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if Path(frame.filename).is_relative_to(folder)]
        if not own:
            return f"'{folder / DESCRIPTION}' cannot be imported: {_words(error)}", "correct it"
        place, number, line = Path(own[-1].filename), own[-1].lineno, own[-1].line or ""
    return f"'{place}', line {number}: {_words(error)}: {line}", "correct the line"


def _words(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _problems(workload: Workload, folder: Path, taken: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    name, how = workload.name, f"give it a name in a {DESCRIPTION}, or rename the folder"
    if not _NAME.fullmatch(name):
        allowed = "1 to 30 lower-case letters, digits and dashes, a letter first and no dash last"
        yield f"'{name}' cannot be the name of a workload", f"{allowed}; {how}"
    if name in taken or name in _RESERVED:
        yield f"the name '{name}' of '{folder}' is taken by trainforge", how
    if not workload.presets:
        yield f"the workload '{name}' has no preset", "leave 'presets' out for one that is called default"
    for key, preset in workload.presets.items():
        if key != preset.name:
            yield f"the preset '{preset.name}' is called '{key}' in 'presets'", "give it one name"
    program = workload.program
    if program.path and not program.in_image and not (folder / program.path).is_file():
        yield f"'{folder}' has no file '{program.path}', which is the program", "correct Program(path=...)"
    if workload.options and not _has_module(folder, workload.options):
        yield f"'{folder}' has no module '{workload.options}' with the program's options", "correct 'options'"
    for stage in workload.stages:
        whose, program = f"stage '{stage.name}'", stage.program
        if program.path and not program.in_image and not (folder / program.path).is_file():
            message = f"'{folder}' has no file '{program.path}', which is the program of the {whose}"
            yield message, "correct Program(path=...)"
        if stage.options and not _has_module(folder, stage.options):
            yield (
                f"'{folder}' has no module '{stage.options}' with the options of the {whose}",
                "correct 'options'",
            )


def _has_module(folder: Path, name: str) -> bool:
    return (folder / f"{name}.py").is_file() or (folder / name).is_dir()
