"""Archives of code: the same files make the same one, and it unpacks itself on a node."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import ROOT
from workloads import registry
from workloads.code_archive import CodeArchive, code_archive, requirements

PROGRAM = ROOT / "workloads" / "runtime" / "code_archive.py"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "mine"
    (made / "package").mkdir(parents=True)
    (made / "train.py").write_text("import package.part\n", encoding="utf-8")
    (made / "package" / "part.py").write_text("print('here')\n", encoding="utf-8")
    (made / "tool.sh").write_text("#!/bin/sh\n", encoding="utf-8")
    (made / "tool.sh").chmod(0o755)
    return made


def archive(folder: Path) -> CodeArchive:
    return code_archive(registry.find(str(folder)))


def unpack(folder: Path, temporary: Path, content: bytes | None = None) -> subprocess.CompletedProcess[str]:
    made = archive(folder)
    path = folder.parent / made.name
    path.write_bytes(made.content if content is None else content)
    return subprocess.run(
        [sys.executable, path],
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_name_follows_from_the_content(folder: Path) -> None:
    first = archive(folder)
    assert (first.files, first) == (3, archive(folder))
    os.utime(folder / "train.py", (0, 0))
    assert archive(folder) == first
    (folder / "tool.sh").chmod(0o644)
    assert archive(folder).name != first.name


def test_it_unpacks_itself_once(folder: Path, tmp_path: Path) -> None:
    done = unpack(folder, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    place = Path(done.stdout.strip())
    assert place.parent == tmp_path / f"trainforge-{os.getuid()}"
    assert place.parent.stat().st_mode & 0o777 == 0o700
    assert os.access(place / "workload" / "tool.sh", os.X_OK)
    assert not os.access(place / "workload" / "train.py", os.X_OK)
    assert (place / "runtime" / "launch_guard.py").read_bytes() == PROGRAM.with_name(
        "launch_guard.py"
    ).read_bytes()
    assert (place / "runtime" / "training" / "heartbeat.py").is_file()
    (place / "workload" / "kept").touch()
    assert unpack(folder, tmp_path).stdout == done.stdout
    assert (place / "workload" / "kept").exists()
    assert len(list(place.parent.iterdir())) == 1


def test_processes_of_a_node_may_unpack_at_once(folder: Path, tmp_path: Path) -> None:
    made = archive(folder)
    path = tmp_path / made.name
    path.write_bytes(made.content)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    ranks = [
        subprocess.Popen([sys.executable, path], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    places = {rank.communicate()[0] for rank in ranks}
    assert [rank.returncode for rank in ranks] == [0] * 6
    assert len(places) == 1
    assert len(list((tmp_path / f"trainforge-{os.getuid()}").iterdir())) == 1


def test_a_broken_archive_is_reported(folder: Path, tmp_path: Path) -> None:
    content = archive(folder).content
    # Python itself starts it by the end of the file; the members before are torn.
    middle = len(content) // 2
    torn = content[:middle] + b"\0" * 200 + content[middle + 200 :]
    done = unpack(folder, tmp_path, torn)
    assert done.returncode == 66
    assert "is broken" in done.stderr
    assert list((tmp_path / f"trainforge-{os.getuid()}").iterdir()) == []


def test_a_temporary_folder_of_everybody_is_not_trusted(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / f"trainforge-{os.getuid()}"
    home.mkdir()
    home.chmod(0o777)
    done = unpack(folder, tmp_path)
    assert done.returncode == 69
    assert "let TMPDIR name another place" in done.stderr


@pytest.mark.parametrize(("text", "lines"), [("", []), ("# none\n\n", []), ("einops\n", ["einops"])])
def test_requirements(folder: Path, text: str, lines: list[str]) -> None:
    assert requirements(folder) == []
    (folder / "requirements.txt").write_text(text, encoding="utf-8")
    assert requirements(folder) == lines


def test_a_workload_of_ours_is_no_archive() -> None:
    with pytest.raises(AssertionError):
        code_archive(replace(registry.workload("cpu-ddp")))
