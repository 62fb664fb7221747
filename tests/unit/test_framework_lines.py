"""Progress patterns against real lines of each framework, which framework_lines/ keeps with their sources."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.progress_log import matching
from workloads.local_environment import REQUIREMENTS
from workloads.registry import workload

FOLDER = Path(__file__).parent / "framework_lines"

_CASE = re.compile(r"# source: (?P<source>.+)\n# expect: (?P<expected>.+)\n(?P<line>.+)\n")


def cases(name: str) -> list[tuple[str, dict[str, float] | None]]:
    """Return the lines of a workload, each with the metrics that are expected of it.

    Raises:
        AssertionError: a line has no source, or nothing is expected of it.
    """
    text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    found = [*_CASE.finditer(text)]
    assert "".join(case[0] for case in found) == text, "each line has its source and what is expected"
    return [(case["line"], json.loads(case["expected"])) for case in found]


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.txt")), ids=lambda file: file.stem)
def test_a_pattern_reads_real_lines(file: Path) -> None:
    expected = [metrics for _, metrics in cases(file.stem)]
    pattern = workload(file.stem).progress.pattern
    found = [next(iter(matching(line, pattern)), None) for line, _ in cases(file.stem)]
    assert found == expected
    assert any(expected), "at least one line of progress"


def test_each_framework_has_lines() -> None:
    frameworks = {
        path.parent.name.replace("_", "-") for path in (ROOT / "workloads").glob(f"*/{REQUIREMENTS}")
    }
    assert frameworks <= {file.stem for file in FOLDER.glob("*.txt")}
