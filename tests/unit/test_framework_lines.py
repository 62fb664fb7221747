"""Progress patterns against real lines of each framework, which framework_lines/ keeps with their sources."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.progress_log import matching
from workloads.registry import names, workload

FOLDER = Path(__file__).parent / "framework_lines"

_CASE = re.compile(r"# source: (?P<source>.+)\n# expect: (?P<expected>.+)\n(?P<line>.+)\n")


@pytest.mark.parametrize("name", names())
def test_a_pattern_reads_real_lines(name: str) -> None:
    text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    cases = [*_CASE.finditer(text)]
    assert "".join(case[0] for case in cases) == text, "each line has its source and what is expected"
    expected = [json.loads(case["expected"]) for case in cases]
    found = [next(iter(matching(case["line"], workload(name).progress.pattern)), None) for case in cases]
    assert found == expected
    assert any(expected), "at least one line of progress"
