"""`trainforge versions`: the lock, and the comparison of a folder, of this machine and of containers with it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from catalog.machine_images import DOWNLOADS, unrecorded
from catalog.versions import EFA_INSTALLER, PINS, UNPINNED_ADD_ONS
from cli.main import app
from tests.shebang import shebang
from tests.unit.installed_root import InstalledRoot

IMAGE = "registry.example/team/train:1.2"


def run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["versions", *words])
    return result.exit_code, result.stdout, result.stderr


def test_the_lock_is_printed_with_its_reasons() -> None:
    code, text, error = run()
    assert code == 0
    assert f"EFA installer\t{EFA_INSTALLER}\t{EFA_INSTALLER.source}" in text
    assert "Kueue built against Trainer 2.2.1" in text
    images = [pin for pin in PINS if pin.is_image]
    assert f"{len(images)} images are pinned by tag, with an unknown digest" in error
    assert f"{sum(map(len, UNPINNED_ADD_ONS.values()))} EKS add-ons have no version" in error
    assert f"and {len(unrecorded())} downloads of machine images have no recorded digest" in error


def test_the_lock_as_json_lists_images_without_a_digest() -> None:
    code, text, _ = run("--json")
    lock = json.loads(text)
    assert code == 0
    assert len(lock["pins"]) == len(PINS)
    assert {row["group"] for row in lock["combinations"]} >= {"EFA layer", "framework", "Kubernetes"}
    unknown = [pin["name"] for pin in lock["pins"] if pin.get("digest") == "unknown"]
    downloads = [f"download '{one.name}' {one.version}" for one in DOWNLOADS if not one.verified]
    add_ons = [
        f"EKS add-on {name} on Kubernetes {version}"
        for version, names in UNPINNED_ADD_ONS.items()
        for name in names
    ]
    assert [finding.partition(":")[0] for finding in lock["findings"]] == [*unknown, *add_ons, *downloads]
    assert "CUDA base image" in unknown


def test_a_folder_is_compared(tmp_path: Path) -> None:
    made = InstalledRoot(tmp_path / "root")
    assert run("--root", str(made.root))[0] == 3
    made.efa()
    code, text, _ = run("--root", str(made.root))
    assert code == 0
    assert "EFA installer             1.48.0" in text
    made.put("opt/amazon/efa_installed_packages", "# EFA installer version: 1.43.2\n")
    code, text, _ = run("--root", str(made.root), "--json")
    assert code == 1
    assert json.loads(text)["problems"][0].startswith("EFA layer: no source says that EFA installer 1.43.2")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--host", "--container", IMAGE],
            "'--host', '--container', '--root' and '--image' exclude each other",
        ),
        (["--image", "cuda"], "'--image' is for '--sbom'"),
        (["--container", ""], "'--container' names no image: its value is ''"),
        (["--container=--privileged"], "'--container' names no image: its value is '--privileged'"),
        (["--sbom", "--image", " "], "'--image' names no image: its value is ' '"),
        (["--sbom"], "'--sbom' needs '--image NAME', '--host', '--container IMAGE' or '--root DIR'"),
        (
            ["--sbom", "--image", "rocm"],
            "there is no image 'rocm'; images are cpu, cuda, ngc, neuron, parallelcluster-cpu",
        ),
        (["--sbom", "--root", "/nowhere"], "'--root /nowhere' is not a folder"),
        (["--root", "/nowhere"], "'--root /nowhere' is not a folder"),
        (
            ["--container", IMAGE],
            f"image '{IMAGE}' cannot be examined: docker, podman or enroot is not on PATH",
        ),
        (["--container", "absent.sqsh"], "image 'absent.sqsh' is not a file; 'enroot import' makes one"),
    ],
)
def test_mistakes_end_with_code_2(words: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    code, _, error = run(*words)
    assert code == 2
    assert error.startswith(f"error: {message}")


class Engine:
    """A made-up container program: it notes its words and answers as told."""

    def __init__(self, folder: Path, name: str, answer: str, code: int = 0) -> None:
        self.log = folder / f"{name}.log"
        program = folder / name
        program.write_text(
            f"{shebang()}\nimport sys\n"
            f"open({str(self.log)!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\n"
            f"if sys.argv[1] != 'import':\n    print({answer!r})\n    sys.stderr.write('no such image\\n')\n"
            f"    sys.exit({code})\n",
            encoding="utf-8",
        )
        program.chmod(0o755)

    def words(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines()


REPORT = json.dumps(
    {
        "passed": False,
        "parts": [
            {"part": "NCCL", "version": "2.27.3", "pinned": "2.28.9", "verdict": "differs", "place": "/lib"}
        ],
        "problems": [],
    }
)


def test_a_container_is_examined_by_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(tmp_path, "docker", REPORT, 1)
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    code, text, _ = run("--container", IMAGE)
    assert code == 1
    assert "NCCL  2.27.3     2.28.9  differs  /lib" in text
    [words] = engine.words()
    assert words.startswith("run --rm --network none --volume ")
    assert words.endswith(
        f"/workloads/runtime:/mnt:ro --workdir /mnt --entrypoint python3 {IMAGE} -m software --json"
    )


def test_a_container_is_examined_by_enroot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(tmp_path, "enroot", REPORT, 1)
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    assert run("--container", IMAGE)[0] == 1
    imported, started = engine.words()
    assert imported.endswith("docker://registry.example#team/train:1.2")
    assert started.startswith("start --rc ")
    assert ":/mnt --net " in started
    file = tmp_path / "train.sqsh"
    file.touch()
    assert run("--container", str(file))[0] == 1
    assert engine.words()[2].endswith(f"--net {file}")


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        ("", 125, "'docker run' failed: no such image"),
        ("hello", 0, "its python3 printed 'hello' in place of"),
    ],
)
def test_a_container_that_does_not_answer_is_a_mistake(
    answer: str, code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Engine(tmp_path, "docker", answer, code)
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    ended, _, error = run("--container", IMAGE)
    assert ended == 2
    assert f"error: image '{IMAGE}'" in error
    assert message in error


def test_a_root_whose_packages_cannot_be_listed_is_no_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "usr/lib/sysimage/rpm").mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    for words in (["--root", str(tmp_path)], ["--sbom", "--root", str(tmp_path)]):
        code, _, message = run(*words)
        assert code == 2
        assert "rpm is not on PATH here" in message
