"""The exporters' file, image and units: one file that runs alone, and services without privileges."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from catalog.metrics import OWN_EXPORTERS, of_exporter
from catalog.ports import EFA_EXPORTER_PORT, RUNS_EXPORTER_PORT, SLURM_EXPORTER_PORT
from catalog.versions import EXPORTERS_BASE, PROMETHEUS_CLIENT
from programs.exporters import records
from tests.exporters.efa_sysfs import every_generation
from tests.programs import ROOT, require_program
from trainforge import exporters

WITH_UNITS = sorted(path.name.split("-")[1] for path in exporters.UNITS.glob("*.service"))
PORTS = {"efa": EFA_EXPORTER_PORT, "slurm": SLURM_EXPORTER_PORT, "runs": RUNS_EXPORTER_PORT}


def alone(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the file with nothing of this environment's own beside it."""
    path = folder / exporters.ARCHIVE
    path.write_bytes(exporters.archive())
    return subprocess.run(
        [sys.executable, "-I", "-S", str(path), *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_file_runs_alone(tmp_path: Path) -> None:
    every_generation(tmp_path / "sys")
    done = alone(tmp_path, "efa", "--once", f"--sys={tmp_path / 'sys'}")
    assert done.returncode == 0, done.stderr
    assert "\nefa_devices 4.0\n" in done.stdout
    assert re.search(r'^efa_port_rx_drops_total\{device="efa_3",port="1"\} \d+', done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "there is no exporter ''; give one of efa, gpu-jobs, runs, slurm"),
        (("eva",), "there is no exporter 'eva'"),
        (("efa",), "give --port with the TCP port to listen at, or --once"),
        (("efa", "--port=0"), "'0' is not a port, a number from 1 to 65535"),
    ],
)
def test_a_wrong_command_line_is_one_message(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    done = alone(tmp_path, *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_same_sources_make_the_same_file() -> None:
    assert exporters.archive() == exporters.archive()
    names = zipfile.ZipFile(io.BytesIO(exporters.archive())).namelist()
    assert not [name for name in names if "pycache" in name or "twisted" in name]
    assert {f"exporters/records/{name}.json" for name in OWN_EXPORTERS} <= set(names)
    assert len(exporters.digest()) == 64


def test_the_program_reads_the_catalogs_records() -> None:
    for name in OWN_EXPORTERS:
        assert {(one.name, one.type, one.labels, one.help) for one in records.read(name).values()} == {
            (one.name, one.type, one.labels, one.help) for one in of_exporter(name)
        }


def test_samples_keep_the_records_labels_and_a_series_once() -> None:
    samples = records.Samples(records.read("efa"))
    samples.add("efa_port_state", 4, ("efa_0", "1"))
    samples.add("efa_port_state", 1, ("efa_0", "1"))
    [family] = samples.families()
    assert [(one.labels, one.value) for one in family.samples] == [({"device": "efa_0", "port": "1"}, 4)]
    with pytest.raises(ValueError, match="'efa_port_state' has the labels"):
        samples.add("efa_port_state", 4, ("efa_0",))
    with pytest.raises(KeyError):
        samples.add("efa_port_stat", 4)


def test_the_image_has_the_file_alone() -> None:
    context = exporters.image_context()
    assert sorted(path.name for path in context.folder.iterdir()) == ["Dockerfile", "exporters.pyz"]
    assert context.arguments == {"BASE": str(EXPORTERS_BASE)}
    text = (context.folder / context.dockerfile).read_text(encoding="utf-8")
    assert "FROM ${BASE}" in text
    assert "USER 65532:65532" in text
    assert not re.search(r"\d+\.\d+\.\d+|latest|pip install|apt-get", text)


def test_it_needs_nothing_newer_than_python_3_9(tmp_path: Path) -> None:
    """Amazon Linux 2023 has 3.9; by vermin, which knows from which version on syntax and modules are there."""
    vermin = require_program("vermin", "'make setup-dev' installs it")
    command = [
        vermin,
        "--target=3.9-",
        "--no-tips",
        "--eval-annotations",
        str(ROOT / "programs" / "exporters"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_library_is_the_catalogs() -> None:
    assert f"\nprometheus-client=={PROMETHEUS_CLIENT}\n" in (ROOT / "requirements.txt").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("name", WITH_UNITS)
def test_a_unit_runs_the_file_at_the_catalogs_port(name: str) -> None:
    text = (exporters.UNITS / f"trainforge-{name}-exporter.service").read_text(encoding="utf-8")
    start = f"ExecStart=/usr/bin/python3 {exporters.FOLDER}/{exporters.ARCHIVE} {name} "
    [line] = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    assert line.startswith(start)
    assert f"--port {PORTS[name]}" in line
    assert "DynamicUser=yes" in text.splitlines()


@pytest.mark.parametrize("name", WITH_UNITS)
def test_systemd_takes_a_unit_and_finds_little_exposed(name: str) -> None:
    """By systemd's own verdict, from 0 to 10; a unit without hardening has 9.6."""
    analyze = require_program("systemd-analyze", "it comes with systemd")
    unit = str(exporters.UNITS / f"trainforge-{name}-exporter.service")
    verified = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    command = [analyze, "security", "--offline=true", "--threshold=20", "--no-pager", unit]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout


def test_no_unit_has_a_privilege() -> None:
    for path in exporters.UNITS.glob("*.service"):
        keys = dict(
            line.split("=", 1) for line in path.read_text(encoding="utf-8").splitlines() if "=" in line
        )
        assert keys["CapabilityBoundingSet"] == "", path.name
        assert keys["NoNewPrivileges"] == keys["ProtectHome"].replace("read-only", "yes") == "yes", path.name
        assert keys["ProtectSystem"] == "strict"


def test_records_are_data_that_yaml_reads_too() -> None:
    """A collector's configuration may take names from them."""
    for name in OWN_EXPORTERS:
        path = ROOT / "catalog" / "data" / "metrics" / f"{name}.json"
        assert yaml.safe_load(path.read_text(encoding="utf-8"))["metrics"]
