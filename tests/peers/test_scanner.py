"""A security scanner runs over the templates of every configuration; what may fail is listed with the reason."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import CONFIGURATIONS
from tests.peers import scanner
from tests.peers.scanner import Allowance, Failure, allowances, compare, scan
from tests.synthesis import Synthesis

OPEN = Failure("CKV_AWS_1", "AWS::S3::Bucket.Data1234ABCD", "Ensure it", "default.StorageStack")


def test_the_templates_of_every_configuration(
    synthesis: Callable[[str], Synthesis], artifacts: Callable[[str], Path]
) -> None:
    templates = {
        f"{Path(configuration).stem}.{stack}": template
        for configuration in CONFIGURATIONS
        for stack, template in synthesis(configuration).templates.items()
    }
    passed, failures = scan(templates, artifacts("scanner"))
    assert passed > 1000, "the scanner read the templates"
    assert "\n".join(compare(failures, allowances())) == ""


def test_an_open_bucket_fails(artifacts: Callable[[str], Path]) -> None:
    """The scanner judges: a template that is open to the world fails by the rules for it."""
    bucket = {"Type": "AWS::S3::Bucket", "Properties": {"AccessControl": "PublicReadWrite"}}
    _, failures = scan({"open": {"Resources": {"Data": bucket}}}, artifacts("scanner-open"))
    assert {"CKV_AWS_20", "CKV_AWS_57"} <= {failure.rule for failure in failures}


def test_the_verdict_is_the_same_in_any_folder(artifacts: Callable[[str], Path]) -> None:
    """A folder's path may look like a secret access key: 40 letters, digits and slashes."""
    variables = {"NAME": "value"}
    function = {"Type": "AWS::Lambda::Function", "Properties": {"Environment": {"Variables": variables}}}
    template = {"Resources": {"Handler": function}}
    folder = artifacts("scanner-folder") / f"-{'a' * (40 - len('/templates/plain'))}"
    _, failures = scan({"plain": template}, folder)
    assert "CKV_AWS_116" in {failure.rule for failure in failures}
    assert "CKV_AWS_45" not in {failure.rule for failure in failures}

    variables["NAME"] = "Secret/Key" * 4
    _, failures = scan({"plain": template}, folder / "again")
    assert "CKV_AWS_45" in {failure.rule for failure in failures}


def test_it_scans_in_a_checkout_whose_path_has_a_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip writes checkov's script with a first line that no kernel reads where the path has a space."""
    program = tmp_path / "my clone" / "bin" / "checkov"
    program.parent.mkdir(parents=True)
    program.with_name("python").symlink_to(sys.executable)
    answer = {"summary": {"passed": 7, "parsing_errors": 0}, "results": {"failed_checks": []}}
    first = f"#!{program.with_name('python')}\n"
    program.write_text(f"{first}print({json.dumps(answer)!r})\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(scanner, "CHECKOV", program)
    assert scan({"empty": {"Resources": {}}}, tmp_path / "scan") == (7, [])


@pytest.mark.parametrize(
    ("allowed", "said"),
    [
        (Allowance("CKV_AWS_1", "AWS::S3::Bucket.Data*", "reason"), ""),
        (Allowance("CKV_AWS_2", "AWS::S3::Bucket.Data*", "reason"), "fails CKV_AWS_1"),
        (Allowance("CKV_AWS_1", "AWS::S3::Bucket.Logs*", "reason"), "fails CKV_AWS_1"),
        (Allowance("CKV_AWS_1", "AWS::SNS::Topic.Data*", "reason"), "fails CKV_AWS_1"),
    ],
)
def test_findings_that_are_not_allowed_are_reported(allowed: Allowance, said: str) -> None:
    found = compare([OPEN], [allowed])
    assert found == [] if not said else said in found[0]


def test_an_unused_allowance_is_reported() -> None:
    stale = Allowance("CKV_AWS_1", "AWS::S3::Bucket.Logs*", "reason")
    assert compare([], [stale]) == [
        "CKV_AWS_1 for AWS::S3::Bucket.Logs* is allowed and nothing fails it; delete it"
    ]


def test_every_allowance_has_its_reason() -> None:
    assert all(len(entry.reason) > 20 for entry in allowances())
