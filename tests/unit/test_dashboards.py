"""The dashboards: documents that Grafana can place, with queries that Prometheus parses and metrics that exist."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import yaml

from catalog.observability import CAPACITY_NAMESPACE, HOURS_UNTIL_END
from observability.dashboards import boards, dashboards
from observability.dashboards.model import COLUMNS, Board, CloudWatchQuery
from observability.dashboards.storage import LUSTRE, LUSTRE_METRICS, OPENZFS, OPENZFS_METRICS
from programs.functions.capacity_ends import index as capacity_ends
from tests.programs import ROOT, require_program
from tests.unit.test_named_metrics import unknown

DOCUMENTS = dashboards()
VARIABLES = {"cluster": ".*", "node": ".*", "run": ".*", "__rate_interval": "4m"}
BUILT_IN = {"__rate_interval"}
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")


def each(function: Any) -> Any:
    return pytest.mark.parametrize("board", boards(), ids=lambda board: board.uid)(function)


def substituted(expression: str) -> str:
    return _VARIABLE.sub(lambda match: VARIABLES[match[1]], expression)


def panels(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in document["panels"] if panel["type"] != "row"]


def test_prometheus_parses_every_query(tmp_path: Path) -> None:
    promtool = require_program("promtool", "Debian's package prometheus has it: apt-get install prometheus")
    expressions = [substituted(expression) for board in boards() for expression in board.expressions()]
    rules = [{"record": f"panel:{number}:x", "expr": text} for number, text in enumerate(expressions)]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}), encoding="utf-8")
    done = subprocess.run(
        [promtool, "check", "rules", "--lint=none", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(expressions)} rules found" in done.stdout


@each
def test_queries_name_metrics_that_exist(board: Board) -> None:
    assert {name for expression in board.expressions() for name in unknown(expression)} == set()


def of_cloudwatch(namespace: str) -> list[CloudWatchQuery]:
    return [
        query
        for board in boards()
        for panel in board.panels()
        for query in panel.queries
        if isinstance(query, CloudWatchQuery) and query.namespace == namespace
    ]


def test_metrics_of_cloudwatch_are_those_that_fsx_has() -> None:
    queries = of_cloudwatch("AWS/FSx")
    named = {
        variable.name: {query.metric for query in queries if query.variable == variable.name}
        for variable in (LUSTRE, OPENZFS)
    }
    assert named == {LUSTRE.name: set(LUSTRE_METRICS), OPENZFS.name: set(OPENZFS_METRICS)}
    assert {query.variable for query in queries} == set(named)
    for query in queries:
        if query.variable == OPENZFS.name:
            assert query.statistic in OPENZFS_METRICS[query.metric][1], query


def test_a_panel_shows_each_reservation_by_the_dimensions_that_are_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cloudwatch = Mock()
    monkeypatch.setattr(capacity_ends.boto3, "client", Mock(return_value=cloudwatch))
    for name, value in {
        "NAMESPACE": CAPACITY_NAMESPACE,
        "METRIC": HOURS_UNTIL_END,
        "DEPLOYMENT": "demo",
    }.items():
        monkeypatch.setenv(name, value)
    capacity_ends._publish({"cr-1": 40.0}, datetime.now(UTC))
    [published] = cloudwatch.put_metric_data.call_args.kwargs["MetricData"]
    [query] = of_cloudwatch(CAPACITY_NAMESPACE)
    assert query.metric == published["MetricName"]
    assert [query.dimension, query.each] == [one["Name"] for one in published["Dimensions"]]
    [target] = [
        target
        for document in DOCUMENTS.values()
        for panel in panels(document)
        for target in panel["targets"]
        if target.get("namespace") == CAPACITY_NAMESPACE
    ]
    assert target["dimensions"] == {"Deployment": "$deployment", "Reservation": "*"}
    assert target["label"] == "${PROP('Dim.Reservation')}"


@each
def test_a_query_of_cloudwatch_selects_by_a_text_and_all_is_its_wildcard(board: Board) -> None:
    """Grafana puts no variable into a list, and CloudWatch knows no pattern `.*`."""
    document = DOCUMENTS[board.uid]
    for panel in panels(document):
        for target in panel["targets"]:
            assert all(isinstance(value, str) for value in target.get("dimensions", {}).values())
    for variable in document["templating"]["list"]:
        if variable["type"] == "query" and variable["multi"]:
            of_aws = variable["datasource"]["uid"] == "${cloudwatch}"
            assert variable["allValue"] == ("*" if of_aws else ".*")


@each
def test_a_query_names_variables_that_the_dashboard_has(board: Board) -> None:
    names = {variable["name"] for variable in DOCUMENTS[board.uid]["templating"]["list"]}
    used = {name for expression in board.expressions() for name in _VARIABLE.findall(expression)} | set(
        _VARIABLE.findall(" ".join(variable.query for variable in board.variables))
    )
    assert used - BUILT_IN <= names
    assert {variable.name for variable in board.variables} <= used, "a variable selects nothing"


@each
def test_every_query_selects_by_cluster(board: Board) -> None:
    """Clusters have nodes and jobs of one name: a query without the cluster mixes them."""
    assert [text for text in board.expressions() if "$cluster" not in text] == []


@each
def test_panels_fit_into_the_grid_and_do_not_overlap(board: Board) -> None:
    places = [panel["gridPos"] for panel in DOCUMENTS[board.uid]["panels"]]
    assert all(place["x"] + place["w"] <= COLUMNS for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)


@each
def test_a_panel_says_what_it_shows(board: Board) -> None:
    document = DOCUMENTS[board.uid]
    titles = [(panel["title"], panel["type"]) for panel in panels(document)]
    assert len(titles) == len(set(titles))
    assert all(panel["description"].endswith(".") for panel in panels(document))
    assert all("`" not in panel["description"] for panel in panels(document)), "Grafana shows the mark"
    identifiers = [panel["id"] for panel in document["panels"]]
    assert len(identifiers) == len(set(identifiers))


@each
def test_a_document_is_the_dashboards(board: Board) -> None:
    document = DOCUMENTS[board.uid]
    assert json.loads(json.dumps(document)) == document
    assert document["uid"] == board.uid
    assert document["editable"] is False, "a change in Grafana would be lost at the next deployment"
    targets = [target for panel in panels(document) for target in panel["targets"]]
    assert [target["expr"] for target in targets if "expr" in target] == list(board.expressions())
    sources = {target["datasource"]["uid"] for target in targets}
    assert sources <= {"${datasource}", "${cloudwatch}"}
    assert ("${cloudwatch}" in sources) == bool(board.cloudwatch)


def test_a_table_s_query_is_instant_and_a_line_s_is_not() -> None:
    for document in DOCUMENTS.values():
        for panel in panels(document):
            for target in panel["targets"]:
                if "expr" in target:
                    assert bool(target.get("instant")) == (panel["type"] != "timeseries"), panel["title"]


def test_slurm_and_kubernetes_have_the_same_views() -> None:
    """One dashboard of a cluster, a node and a run for both; only the queues differ."""
    own = {board.uid for board in boards() if "slurm" in board.uid or "kubernetes" in board.uid}
    assert own == {"trainforge-slurm", "trainforge-kubernetes"}
    [cluster] = [board for board in boards() if board.uid == "trainforge-cluster"]
    text = " ".join(cluster.expressions())
    assert "kube_node_status_condition" in text
    assert "slurm_nodes_down" in text


def test_grafana_s_library_is_imported_when_dashboards_are_made() -> None:
    program = (
        "import sys, observability.alerts, observability.dashboards as d; d.boards();"
        "assert not any(name.startswith('grafana') for name in sys.modules); d.dashboards();"
        "assert 'grafana_foundation_sdk' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=60)


def test_every_dashboard_has_a_picture_that_a_page_shows() -> None:
    text = (ROOT / "docs" / "dashboards.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"\]\(pictures/dashboards/([a-z-]+)\.png\)", text))
    drawn = {path.stem for path in (ROOT / "docs" / "pictures" / "dashboards").glob("*.png")}
    assert shown == drawn, "'make pictures' takes them"
    assert {uid.removeprefix("trainforge-") for uid in DOCUMENTS} <= shown
