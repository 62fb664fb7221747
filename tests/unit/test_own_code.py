"""Workloads in users' own folders: their description, the shipped files, and a message for every mistake."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import workloads
from catalog.cluster_info import ClusterInfo
from catalog.instances import instance
from catalog.reference_types import CPU, GPU, NEURON
from tests.conftest import ROOT
from workloads import registry
from workloads.own_code import OwnCodeError, fitted, is_folder, label, own_workload
from workloads.own_files import MAX_MIB, own_files
from workloads.render.all import render
from workloads.render.launcher_support import formats_for
from workloads.request import Request, resolve
from workloads.spec import Format, Run, Workload

DESCRIBED = """
from helper import SIZE
from workloads import Preset, Program, Resources, Workload

WORKLOAD = Workload(
    name="mine",
    program=Program(path="run.py"),
    resources=Resources(accelerators=("cpu",), ranks_per_node=2),
    presets={"small": Preset("small", arguments=(f"--size={SIZE}",))},
)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "My Training_2"
    made.mkdir()
    return made


def find(folder: Path) -> Workload:
    return registry.find(str(folder))


def mistakes(folder: Path) -> list[str]:
    with pytest.raises(OwnCodeError) as caught:
        find(folder)
    return [message for message, _ in caught.value.problems]


@pytest.mark.parametrize(
    ("reference", "expected"),
    [("./x", True), ("/x", True), ("x/", True), (".", True), ("..", True), ("fsdp", False), ("x.y", False)],
)
def test_a_folder_has_a_slash(reference: str, *, expected: bool) -> None:
    assert is_folder(reference) is expected


@pytest.mark.parametrize(
    ("text", "name"),
    [("My Training_2", "my-training-2"), ("3d-unet", "d-unet"), ("日本", ""), ("a" * 40, "a" * 30)],
)
def test_names_of_folders_become_labels(text: str, name: str) -> None:
    assert label(text) == name


def test_a_program_alone_has_defaults(folder: Path) -> None:
    (folder / "train.py").touch()
    found = find(folder)
    assert (found.name, found.folder, found.resumes) == ("my-training-2", folder, False)
    assert found.progress.pattern == ""
    assert set(found.formats) == set(formats_for(found.launcher)) - {Format.JOBSET}
    assert registry.folder(found) == folder


@pytest.mark.parametrize(
    ("instance_type", "base", "launcher"),
    [(CPU, "cpu", "torchrun"), (GPU, "cuda", "torchrun"), (NEURON, "neuron", "torchrun on Neuron")],
)
def test_the_base_follows_from_the_nodes(folder: Path, instance_type: str, base: str, launcher: str) -> None:
    (folder / "train.py").touch()
    request = Request(str(folder), "hyperpod_eks", instance_type=instance_type, nodes=2)
    resolution = resolve(request)
    assert resolution.findings == ()
    assert resolution.run
    assert (str(resolution.run.image), resolution.run.workload.launcher.name) == (base, launcher)
    # The Neuron base has no hyperpodrun.
    assert (Format.HYPERPODPYTORCHJOB in resolution.run.workload.formats) is (base != "neuron")
    assert fitted(resolution.run.workload, instance(instance_type)) == resolution.run.workload


def test_a_described_workload(folder: Path) -> None:
    (folder / "workload.py").write_text(DESCRIBED, encoding="utf-8")
    (folder / "helper.py").write_text("SIZE = 3\n", encoding="utf-8")
    (folder / "run.py").touch()
    before = sys.dont_write_bytecode
    found = find(folder)
    run = Run.reference(found)
    assert (run.name, run.arguments, run.ranks_per_node) == ("mine-small", ("--size=3",), 2)
    assert "helper" not in sys.modules
    assert sorted(path.name for path in folder.iterdir()) == ["helper.py", "run.py", "workload.py"]
    assert sys.dont_write_bytecode is before


def test_a_description_does_not_print_into_manifests(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "from workloads import Workload\nprint('imported')\nWORKLOAD = Workload(name='mine')\n"
    (folder / "workload.py").write_text(text, encoding="utf-8")
    (folder / "train.py").touch()
    find(folder)
    assert capsys.readouterr() == ("", "imported\n")


def test_a_description_that_fails_runs_once(folder: Path) -> None:
    counter = folder.parent / "counter"
    text = f"with open({str(counter)!r}, 'a') as file:\n    file.write('x')\nraise ValueError('no')\n"
    (folder / "workload.py").write_text(text, encoding="utf-8")
    assert mistakes(folder) == mistakes(folder)
    with pytest.raises(OwnCodeError):
        own_workload(folder, ())
    assert counter.read_text(encoding="utf-8") == "x"


def test_no_folder(tmp_path: Path) -> None:
    assert mistakes(tmp_path / "none") == [f"the folder '{tmp_path}/none' does not exist"]
    (tmp_path / "file").touch()
    assert mistakes(tmp_path / "file") == [f"'{tmp_path}/file' is a file, not a folder"]
    assert mistakes(tmp_path) == [f"'{tmp_path}' has neither a workload.py nor a train.py"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "import nothing_of_that_name\n",
            "line 1: ModuleNotFoundError: No module named 'nothing_of_that_name': import",
        ),
        ("x = 1\ny = x +\n", "line 2: SyntaxError: invalid syntax: y = x +"),
        ("import sys\n\nsys.exit(3)\n", "line 3: SystemExit: 3: sys.exit(3)"),
        (
            "from workloads import Program\nProgram(path='a', module='b')\n",
            "line 2: ValueError: a program is one of",
        ),
        ("from workloads import Worklaod\n", "line 1: ImportError: cannot import name 'Worklaod'"),
        ("from workloads import Workload\nWorkload(nmae='x')\n", "line 2: TypeError: "),
        ("", "has no WORKLOAD"),
        ("WORKLOAD = 3\n", "WORKLOAD of '"),
    ],
)
def test_mistakes_in_a_description(folder: Path, text: str, message: str) -> None:
    (folder / "workload.py").write_text(text, encoding="utf-8")
    [found] = mistakes(folder)
    assert message in found
    assert str(folder) in found


def test_all_mistakes_of_a_description_at_once(folder: Path) -> None:
    text = "from workloads import Workload\nWORKLOAD = Workload(name='fsdp', presets={}, options='none')\n"
    (folder / "workload.py").write_text(text, encoding="utf-8")
    assert mistakes(folder) == [
        f"the name 'fsdp' of '{folder}' is taken by trainforge",
        "the workload 'fsdp' has no preset",
        f"'{folder}' has no file 'train.py', which is the program",
        f"'{folder}' has no module 'none' with the program's options",
    ]


@pytest.mark.parametrize("name", ["fsdp", "base", "12", "日本"])
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "train.py").touch()
    [message] = mistakes(tmp_path / name)
    assert "the name" in message


def test_a_folder_without_an_image_runs_from_the_launch_folder(folder: Path) -> None:
    """With `path` and `virtual_environment` the bundle has the folder under the workload's name."""
    (folder / "train.py").touch()
    run = resolve(Request(str(folder), "hyperpod", nodes=2)).run
    assert run
    where = replace(
        ClusterInfo.example("hyperpod"), virtual_environments={"my-training-2": "/fsx/environments/torch"}
    )
    script = render(run, Format.SLURM, where)
    assert "/fsx/data/launch/my_training_2/train.py" in script
    assert "/fsx/data/launch/base/runtime/launch_guard.py" in script
    assert "CODE_FOLDER" not in script


def test_options_that_cannot_be_imported(folder: Path) -> None:
    (folder / "train.py").touch()
    (folder / "flags.py").write_text("import absent\n", encoding="utf-8")
    text = "from workloads import Workload\nWORKLOAD = Workload(name='mine', options='flags')\n"
    (folder / "workload.py").write_text(text, encoding="utf-8")
    [finding] = resolve(Request(str(folder), "eks", arguments=("--x",))).findings
    assert f"'{folder}/flags.py', line 1: ModuleNotFoundError" in finding.message
    assert not (folder / "__pycache__").exists()


def test_files_that_are_shipped(folder: Path) -> None:
    for name in ("train.py", "package/module.py", "tool.sh", "runs/other/kept.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    for name in (
        ".env",
        ".git/config",
        "package/__pycache__/x.pyc",
        "venv/pyvenv.cfg",
        "venv/bin/x",
        "runs/mine/log",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "tool.sh").chmod(0o700)
    (folder / "link.py").symlink_to("train.py")
    found = own_files(folder, "mine")
    assert found.problems == []
    shipped = {str(file.path): file.mode for file in found.files}
    assert shipped == {
        "link.py": 0o644,
        "package/module.py": 0o644,
        "runs/other/kept.txt": 0o644,
        "tool.sh": 0o755,
        "train.py": 0o644,
    }


def test_files_that_cannot_be_shipped(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "package").mkdir()
    (folder / "out").symlink_to(tmp_path / "data")
    (folder / "inner").symlink_to("package")
    (folder / "broken").symlink_to("nothing")
    os.mkfifo(folder / "pipe")
    (folder / "back\\slash").touch()
    (folder / os.fsdecode(b"\xff")).touch()
    # A socket's path is short: it is bound by its name in the folder.
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        problems = [message for message, _ in own_files(folder, "mine").problems]
    assert problems == [
        "the file name 'back\\\\slash' has a control character or a backslash",
        "the link 'broken' leads to nothing",
        "the link 'inner' leads to a folder",
        f"the link 'out' leads out of the folder, to '{tmp_path}/data', which nodes do not have",
        "'pipe' is neither a file nor a folder",
        "'socket' is neither a file nor a folder",
        "the file name '\\udcff' is not UTF-8",
    ]


def test_a_folder_that_is_too_large_names_the_largest_files(folder: Path) -> None:
    for number, size in enumerate((40, 30, 1, 2)):
        with (folder / f"weights-{number}.bin").open("wb") as file:
            file.truncate(size << 20)
    [(message, _)] = own_files(folder, "mine").problems
    assert message == (
        f"the folder has 73 MiB, and {MAX_MIB} MiB at most are shipped; the largest: weights-0.bin (40.0 MiB), "
        "weights-1.bin (30.0 MiB), weights-3.bin (2.0 MiB)"
    )


def test_size_is_no_matter_on_this_machine(folder: Path) -> None:
    (folder / "train.py").touch()
    with (folder / "data.bin").open("wb") as file:
        file.truncate((MAX_MIB + 1) << 20)
    assert resolve(Request(str(folder), "local")).findings == ()
    assert len(resolve(Request(str(folder), "eks")).findings) == 1


def test_a_path_that_a_script_would_expand(tmp_path: Path) -> None:
    folder = tmp_path / "my$HOME"
    folder.mkdir()
    (folder / "train.py").touch()
    [finding] = resolve(Request(str(folder), "local")).findings
    assert "cannot be written into a script" in finding.message


def test_a_folder_without_a_slash_is_hinted_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    [finding] = resolve(Request("mine", "local")).findings
    assert "'./mine' is the folder of that name" in finding.hint


def test_the_api_is_what_its_page_documents() -> None:
    """A name that goes breaks somebody's workload.py: CHANGELOG must say so, and this list with it."""
    assert workloads.__all__ == [
        "Asset",
        "Command",
        "Container",
        "Criterion",
        "Footprint",
        "Format",
        "Image",
        "Jax",
        "Layout",
        "Mpi",
        "NeuronTorchrun",
        "Override",
        "Preset",
        "PrintedBy",
        "Program",
        "Progress",
        "Proof",
        "Proven",
        "Resources",
        "Secret",
        "Share",
        "SizeArguments",
        "Srun",
        "Stage",
        "Torchrun",
        "Workload",
        "number",
    ]
    page = (ROOT / "docs" / "bring-your-own-code.md").read_text(encoding="utf-8")
    for name in workloads.__all__:
        assert getattr(workloads, name).__name__ == name
        assert f"`{name}" in page, f"docs/bring-your-own-code.md does not describe {name}"
    with pytest.raises(AttributeError, match="no attribute 'Worklaod'"):
        workloads.Worklaod  # noqa: B018 - the access is tested
