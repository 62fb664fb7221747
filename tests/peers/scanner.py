"""A security scanner's verdict on templates, compared with what is allowed to fail and why."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.programs import ROOT, require_file

CHECKOV = ROOT / ".venv-scanner" / "bin" / "checkov"
ALLOWED = Path(__file__).parent / "scanner_allowed.yaml"
_SECONDS = 500


@dataclass(frozen=True, order=True)
class Failure:
    """A rule that a resource does not meet. `resource` is its type, a dot and its logical id."""

    rule: str
    resource: str
    text: str
    where: str


@dataclass(frozen=True)
class Allowance:
    """A rule that resources of a pattern need not meet, with the reason."""

    rule: str
    resource: str
    reason: str

    def covers(self, failure: Failure) -> bool:
        """Return whether a failure is allowed by this."""
        return self.rule == failure.rule and fnmatchcase(failure.resource, self.resource)


def allowances(path: Path = ALLOWED) -> list[Allowance]:
    """Return what is allowed to fail, one entry for each resource that the file names."""
    return [
        Allowance(entry["rule"], resource, entry["reason"])
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))
        for resource in entry["resources"]
    ]


def compare(failures: Iterable[Failure], allowed: Iterable[Allowance]) -> list[str]:
    """Return what is wrong: failures that nothing allows, and allowances that no failure needs."""
    failures, allowed = sorted(set(failures)), list(allowed)
    new = [failure for failure in failures if not any(entry.covers(failure) for entry in allowed)]
    stale = [entry for entry in allowed if not any(entry.covers(failure) for failure in failures)]
    return [
        *(
            f"{failure.where}: {failure.resource} fails {failure.rule} ({failure.text}); "
            f"correct it, or allow it in {ALLOWED.name} with the reason"
            for failure in new
        ),
        *(f"{entry.rule} for {entry.resource} is allowed and nothing fails it; delete it" for entry in stale),
    ]


def scan(templates: Mapping[str, Mapping[str, Any]], folder: Path) -> tuple[int, list[Failure]]:
    """Scan templates, by a name for each; return how many checks passed, and what failed.

    `folder` takes the templates and the scanner's answer.
    """
    program = require_file(CHECKOV, "checkov", "'make peers' brings it, in an environment of its own")
    source = folder / "templates"
    source.mkdir(parents=True)
    for name, template in templates.items():
        (source / f"{name}.json").write_text(json.dumps(template, indent=1), encoding="utf-8")
    # By its Python: the first line of checkov's script names it, and cannot where the checkout's path has a space.
    command = [str(program.with_name("python")), str(program), "--framework", "cloudformation"]
    done = subprocess.run(
        # A relative path: CKV_AWS_45 takes a template's path for a variable of its functions, and one with 40 letters
        # and slashes on end for a secret key.
        [*command, "--directory", source.name, "--output", "json", "--compact", "--quiet", "--skip-download"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    (folder / "answer.json").write_text(done.stdout, encoding="utf-8")
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        pytest.fail(f"checkov exited {done.returncode} without an answer: {done.stdout}{done.stderr}")
    assert answer["summary"]["parsing_errors"] == 0, answer["summary"]
    failed = answer["results"]["failed_checks"]
    return answer["summary"]["passed"], [
        Failure(item["check_id"], item["resource"], item["check_name"], Path(item["file_path"]).stem)
        for item in failed
    ]
