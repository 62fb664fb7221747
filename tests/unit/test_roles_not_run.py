"""The list of what did not run of the roles of machine images: docs/machine-images.md names the roles of each part."""

from __future__ import annotations

import re

import pytest

from tests.programs import ROOT

ROLES = ROOT / "machine_images" / "roles"
PAGE = ROOT / "docs" / "machine-images.md"


def roles_with(pattern: str) -> set[str]:
    """Return the roles whose tasks or handlers have a line of the pattern."""
    files = (path for part in ("tasks", "handlers") for path in ROLES.glob(f"*/{part}/*.yml"))
    found = re.compile(pattern, re.MULTILINE)
    return {
        path.relative_to(ROLES).parts[0] for path in files if found.search(path.read_text(encoding="utf-8"))
    }


@pytest.mark.parametrize(
    ("part", "pattern"),
    [
        ("tasks with the tag `kernel`", r"tags: (\[.*)?\bkernel\b"),
        ("tasks with the tag `gpu`", r"tags: (\[.*)?\bgpu\b"),
        ("tasks with the tag `first_boot`", r"tags: (\[.*)?\bfirst_boot\b"),
        ("branches for Amazon Linux 2023", r"os_family == 'RedHat'"),
    ],
)
def test_the_page_names_the_roles_whose_tasks_did_not_run(part: str, pattern: str) -> None:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {part}")]
    assert len(lines) == 1
    first, proof = lines[0].strip("| ").split(" | ")
    assert set(re.findall(r"`(\w+)`", first.removeprefix(part))) == roles_with(pattern)
    assert proof.startswith("not run here")


def test_no_task_has_a_tag_that_tests_leave_out_without_a_row() -> None:
    debian = (ROOT / "tests" / "machine_images" / "debian.py").read_text(encoding="utf-8")
    left_out = re.search(r"^SKIPPED_TAGS = \((.*)\)$", debian, re.MULTILINE)
    assert left_out is not None
    assert set(re.findall(r'"(\w+)"', left_out[1])) == {"kernel", "gpu", "first_boot"}
