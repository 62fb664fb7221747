"""Every rule has a case that it finds, and an entry in the table of rules."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from settings.rules import RULES
from settings.rules.rule_table import FILE_RULES, rule_table

HERE = Path(__file__)
MODULES = sorted(path for path in HERE.parent.glob("test_*.py") if path != HERE)


def test_every_rule_has_a_case_that_it_finds() -> None:
    """In a table of CASES, or in a test that names it: of what needs a folder, a deployment or another workload."""
    tables = [
        import_module(f"tests.unit.{path.stem}") for path in MODULES if "checks" in path.stem.split("_")
    ]
    found = {rule for table in tables for _, expected in getattr(table, "CASES", ()) for rule, _ in expected}
    assert found <= set(RULES)
    tests = [path.read_text(encoding="utf-8") for path in MODULES]
    assert [
        rule for rule in RULES if rule not in found and not any(f'"{rule}"' in text for text in tests)
    ] == []


def test_every_rule_has_a_reason_and_a_severity() -> None:
    sheet = rule_table()
    assert len({entry.name for entry in sheet}) == len(sheet)
    assert {entry.name for entry in sheet} == set(RULES) | set(FILE_RULES) | {"acknowledgement-unused"}
    for entry in sheet:
        assert entry.reason.endswith((".", ")")), entry
        assert entry.severity in ("error", "warning")
        assert entry.acknowledgeable or entry.severity == "error" or entry.name == "acknowledgement-unused"
