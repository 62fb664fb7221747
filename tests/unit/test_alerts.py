"""The alerts, evaluated by Prometheus' own tool: each fires for its fault and recovers, and each has a page."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalog.metrics import of_exporter
from catalog.xids import xids
from observability.alerts import EVENT_PAGES, GROUPS, RUNBOOKS, alerts, records, rule_groups
from observability.alerts.rules import Alert, Group, Record
from observability.queries import series_of
from tests.exporters.prometheus import HINT
from tests.programs import ROOT, require_program
from tests.unit.alert_cases import CASES, Case

SECTIONS = ("Meaning", "Look", "Act", "Silence")
_GOOD: dict[str, Any] = {
    "name": "Fault",
    "expr": "up",
    "severity": "info",
    "hold": "0s",
    "labels": ("cluster",),
    "summary": "cluster {{ $labels.cluster }} .",
    "page": "a",
}


def promtool(*arguments: str) -> str:
    """Return the output of promtool, whose checks must pass."""
    program = require_program("promtool", HINT)
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write(folder: Path, groups: str | None = None) -> Path:
    path = folder / "rules.yaml"
    path.write_text(groups or rule_groups(), encoding="utf-8")
    return path


def test_prometheus_takes_the_rules(tmp_path: Path) -> None:
    rules = sum(len(group.rules) for group in GROUPS)
    assert f"{rules} rules found" in promtool("check", "rules", str(write(tmp_path)))


def look(case: Case, minute: int, fires: bool) -> dict[str, Any]:
    """Return a check of promtool: the firing alerts of that name at a minute."""
    labels = {
        "alertname": case.alert,
        "alertstate": "firing",
        **LABELS[case.alert],
        **case.labels,
    }
    inner = ", ".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
    return {
        "expr": f'ALERTS{{alertname="{case.alert}", alertstate="firing"}}',
        "eval_time": f"{minute}m",
        "exp_samples": [{"labels": f"ALERTS{{{inner}}}", "value": 1}] if fires else [],
    }


LABELS: dict[str, dict[str, str]] = {alert.name: alert.rule(None)["labels"] for alert in alerts()}


def promtool_test(case: Case) -> dict[str, Any]:
    looks = [] if case.fires is None else [look(case, case.fires, fires=True)]
    return {
        "name": f"{case.alert} {case.name}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "promql_expr_test": [*looks, look(case, case.quiet, fires=False)],
    }


def groups_for(alert: str) -> list[Group]:
    """Return the groups with an alert and the records that it is computed from, and without other rules."""
    needed, pending = set(), [rule for group in GROUPS for rule in group.rules if rule.name == alert]
    while pending:
        rule = pending.pop()
        needed.add(rule.name)
        pending += [one for one in records() if one.name in rule.expr and one.name not in needed]
    kept = (replace(group, rules=tuple(r for r in group.rules if r.name in needed)) for group in GROUPS)
    return [group for group in kept if group.rules]


def test_each_alert_fires_and_recovers(tmp_path: Path) -> None:
    """Each beside what it is computed from alone: with all rules at each minute this took five times as long."""
    files = []
    for alert in sorted({case.alert for case in CASES}):
        folder = tmp_path / alert
        folder.mkdir()
        groups = groups_for(alert)
        write(folder, yaml.safe_dump({"groups": [group.document(None) for group in groups]}))
        document = {
            "rule_files": ["rules.yaml"],
            "evaluation_interval": "1m",
            "group_eval_order": [f"trainforge-{group.name}" for group in groups],
            "tests": [promtool_test(case) for case in CASES if case.alert == alert],
        }
        files.append(folder / "tests.yaml")
        files[-1].write_text(yaml.safe_dump(document), encoding="utf-8")
    promtool("test", "rules", *map(str, files))


def test_every_alert_has_a_case_that_fires() -> None:
    assert {case.alert for case in CASES if case.fires is not None} == {alert.name for alert in alerts()}


def test_names_are_used_once() -> None:
    names = [rule.name for group in GROUPS for rule in group.rules]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_an_alert_has_a_page_that_says_what_to_do(alert: Alert) -> None:
    text = (ROOT / RUNBOOKS / f"{alert.page}.md").read_text(encoding="utf-8")
    assert alert.name in text
    assert [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")] == list(
        SECTIONS
    )


def test_every_page_is_an_alerts_and_listed() -> None:
    index = (ROOT / RUNBOOKS / "README.md").read_text(encoding="utf-8")
    pages = {path.stem for path in (ROOT / RUNBOOKS).glob("*.md")} - {"README"}
    assert pages == {alert.page for alert in alerts()} | set(EVENT_PAGES)
    for page in EVENT_PAGES:
        text = (ROOT / RUNBOOKS / f"{page}.md").read_text(encoding="utf-8")
        assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == list(SECTIONS)
        assert f"({page}.md)" in index
    for alert in alerts():
        [row] = [line for line in index.splitlines() if line.startswith(f"| {alert.name} ")]
        assert f"| {alert.severity} |" in row
        assert f"({alert.page}.md)" in row
        assert re.search(rf"\| {alert.hold} \|", row)


def test_the_page_on_xids_has_the_action_of_every_code() -> None:
    text = (ROOT / RUNBOOKS / "gpu-xid.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([0-9, ]+) \| (.*) \|$", text, re.MULTILINE))
    told = {int(code): words.lower() for codes, words in rows.items() for code in codes.split(", ")}
    repaired = {code: xid for code, xid in xids().items() if xid.severity != "monitor"}
    words = {"reset": "reset", "reboot": "reboot the node", "isolate": "take the node out"}
    assert set(told) - {154} == set(repaired)
    assert [code for code, xid in repaired.items() if words[xid.severity] not in told[code]] == []


def test_the_page_says_which_alerts_work_where_only_runs_have_our_labels() -> None:
    """On HyperPod with EKS an add-on writes all other metrics, whose labels nobody documents."""
    recorded = {record.name: record.expr for record in records()}
    of_runs = {metric.name for metric in of_exporter("runs")}

    def read(expression: str) -> set[str]:
        found = series_of(expression)
        return {name for each in found for name in (read(recorded[each]) if each in recorded else {each})}

    page = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
    [row] = re.findall(r"^\| alerts that work \| (.*?); of the exporter", page, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == {
        alert.name for alert in alerts() if read(alert.expr) <= of_runs
    }


def test_alerts_link_to_the_folder_that_is_given() -> None:
    groups = yaml.safe_load(rule_groups("https://example.com/runbooks/"))["groups"]
    links = {
        rule["annotations"]["runbook_url"] for group in groups for rule in group["rules"] if "alert" in rule
    }
    assert "https://example.com/runbooks/gpu-xid.md" in links
    assert len(links) == len({alert.page for alert in alerts()})
    without = alerts()[0].rule(None)["annotations"]
    assert set(without) == {"summary", "runbook"}, "a path is no link"
    assert (ROOT / without["runbook"]).exists()


def test_recorded_series_are_recorded_before_they_are_used() -> None:
    known: set[str] = set()
    for group in GROUPS:
        for rule in group.rules:
            used = {name for name in series_of(rule.expr) if ":" in name}
            assert used <= known, rule.name
            if isinstance(rule, Record):
                known.add(rule.name)
    assert known == {record.name for record in records()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "gpu_xid"}, "not in CamelCase"),
        (
            {"hold": "soon", "severity": "page"},
            "'soon' is no duration.*severity 'page' is not one of critical",
        ),
        ({"labels": ("node",)}, "no cluster.*does not show the label 'node'"),
        ({"page": "A b"}, "names no page"),
    ],
)
def test_a_wrong_alert_is_refused(change: dict[str, Any], words: str) -> None:
    assert Alert(**_GOOD)
    with pytest.raises(ValueError, match=words):
        Alert(**{**_GOOD, **change})


def test_a_wrong_record_is_refused() -> None:
    with pytest.raises(ValueError, match="level:metric:operation"):
        Record(name="gpus", expr="up", help="x")


def test_a_group_is_evaluated_every_minute() -> None:
    group = Group(name="g", rules=(Record(name="a:b:c", expr="up", help="x"),))
    assert group.document("x") == {
        "name": "trainforge-g",
        "interval": "1m",
        "rules": [{"record": "a:b:c", "expr": "up"}],
    }
