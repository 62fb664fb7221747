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


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.txt")), ids=lambda file: file.stem)
def test_a_pattern_reads_real_lines(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    cases = [*_CASE.finditer(text)]
    assert "".join(case[0] for case in cases) == text, "each line has its source and what is expected"
    expected = [json.loads(case["expected"]) for case in cases]
    pattern = workload(file.stem).progress.pattern
    found = [next(iter(matching(case["line"], pattern)), None) for case in cases]
    assert found == expected
    assert any(expected), "at least one line of progress"


def test_each_framework_has_lines() -> None:
    frameworks = {
        path.parent.name.replace("_", "-") for path in (ROOT / "workloads").glob(f"*/{REQUIREMENTS}")
    }
    assert frameworks <= {file.stem for file in FOLDER.glob("*.txt")}
