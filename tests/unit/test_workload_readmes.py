"""READMEs of workloads: what docs/add-a-workload.md asks of each, and the table in the README of the repository."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT
from workloads import registry

SECTIONS = ("Launching", "What to expect")
UNNAMED = {"README.md", "__init__.py", "__pycache__"}
"""Files that need no row."""


@pytest.mark.parametrize("name", registry.names())
def test_a_readme_has_what_the_page_asks_for(name: str) -> None:
    workload = registry.workload(name)
    folder = registry.folder(workload)
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {name}\n")
    assert [section for section in SECTIONS if f"\n## {section}\n" not in text] == []
    # What a download needs, and under which terms: with the data, or by itself.
    assert re.search(r"^## (?:Data, licences, access|Licences and access)$", text, re.MULTILINE)
    files = {path.name + "/" * path.is_dir() for path in folder.iterdir() if path.name not in UNNAMED}
    rows = text.partition("\n## ")[0]
    assert [file for file in sorted(files) if f"`{file}`" not in rows] == []
    words = set(re.findall(r"`([\w.-]+)`", text))
    # A name, or the end that many names have beside the other: `llama3-1-8b` and `-c4`.
    named = {*words, *(word + end for word in words for end in words if end.startswith("-"))}
    assert [preset for preset in workload.presets if preset not in named] == []


@pytest.mark.parametrize("name", registry.names())
def test_the_readme_of_the_repository_names_the_workload(name: str) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"| [{name}](workloads/{registry.workload(name).package}/README.md) |" in text


TRAINED = (
    *(
        "bionemo",
        "bionemo-esm1nv",
        "cpu-ddp",
        "fsdp",
        "jax",
        "megatron-lm",
        "mosaicml-composer",
        "nemo-launcher",
    ),
    *("nemo-run", "neuronx-distributed", "picotron", "ray-train", "torchtitan"),
)
"""Workloads that train on data; the others measure or examine."""

SIZE = re.compile(r"\b[0-9][0-9.,]* (?:KiB|MB|GB|GiB|TB)\b|\bsize\b[^.]*\bunknown\b|\bunknown\b[^.]*\bsize\b")


def test_each_workload_trains_or_is_known_not_to() -> None:
    others = {"gpu-health", "nccl-tests", "nccom-tests", "node-pairs", "pytorch-env"}
    assert set(registry.names()) == {*TRAINED, *others}


@pytest.mark.parametrize("name", TRAINED)
def test_a_readme_names_the_stage_of_real_data_and_its_storage(name: str) -> None:
    """A stage that makes an asset by name, or that the framework streams, and how much storage it takes."""
    workload = registry.workload(name)
    text = (registry.folder(workload) / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^## Data\b.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found
    section = found[0]
    stages = {asset.stage for asset in workload.assets if asset.stage}
    assert [stage for stage in sorted(stages) if f"`{stage}`" not in section] == []
    assert stages or "no stage" in section
    storage = section.partition("\n### Storage\n")[2]
    assert SIZE.search(storage), "a heading '### Storage', and how much it is or that it is unknown"
    folders = {asset.folder for asset in workload.assets if asset.stage}
    assert [folder for folder in sorted(folders) if f"`data/{folder}`" not in storage] == []
