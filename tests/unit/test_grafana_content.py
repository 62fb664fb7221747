"""The function that fills a Grafana: what it puts there by which version, and that its account is always gone."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import boto3
import pytest

from emulator import grafana
from programs.functions.grafana_content import grafana_api, index


class _Quiet(WSGIRequestHandler):
    def log_request(self, *_arguments: Any) -> None:
        """Stay silent."""


class Bucket:
    """A bucket's client, with one dashboard for each key."""

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        del Bucket
        variable = {"name": "datasource", "type": "datasource", "query": "prometheus"}
        document = {"uid": Key, "title": Key, "id": 7, "templating": {"list": [variable]}}
        return {"Body": io.BytesIO(json.dumps(document, indent=1).encode())}


class Filled:
    """A fake service of Grafana with one workspace, and the answers of the function."""

    def __init__(self, service: grafana.GrafanaService, workspace: grafana.Workspace) -> None:
        self.service, self.workspace = service, workspace
        self.answers: list[tuple[str, str]] = []

    def send(self, kind: str, uids: list[str], before: list[str] | None = None) -> tuple[str, str]:
        properties = {
            "WorkspaceId": self.workspace.id,
            "MetricsUrl": "https://aps-workspaces.us-west-2.amazonaws.com/workspaces/ws-1",
            # CloudFormation sends numbers as texts.
            "ScrapeSeconds": "60",
            "Region": "us-west-2",
            "Bucket": "b",
            "Dashboards": uids,
            "Uids": uids,
        }
        event = {
            "RequestType": kind,
            "RequestId": "1234",
            "LogicalResourceId": "Content",
            "ResourceProperties": properties,
            "OldResourceProperties": {"Uids": before or []},
        }
        index.handler(event, None)
        return self.answers[-1]

    @property
    def uids(self) -> list[str]:
        return sorted(self.workspace.held["dashboards"])


@pytest.fixture
def filled(monkeypatch: pytest.MonkeyPatch) -> Iterator[Filled]:
    service = grafana.GrafanaService()
    with make_server("127.0.0.1", 0, service.answer, handler_class=_Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", host)
        real = boto3.client

        def client(name: str) -> Any:
            if name == "s3":
                return Bucket()
            return real(name, "us-west-2", aws_access_key_id="test", aws_secret_access_key="test")

        monkeypatch.setattr(boto3, "client", client)
        workspace = client("grafana").create_workspace(
            accountAccessType="CURRENT_ACCOUNT",
            authenticationProviders=["AWS_SSO"],
            permissionType="CUSTOMER_MANAGED",
        )["workspace"]
        made = Filled(service, service.workspaces[workspace["id"]])
        monkeypatch.setattr(
            index, "answer", lambda _event, _id, status, reason: made.answers.append((status, reason))
        )
        yield made
        server.shutdown()


def test_data_sources_and_dashboards_are_there_and_no_account_is_left(filled: Filled) -> None:
    assert filled.send("Create", ["fleet", "node"]) == ("SUCCESS", "")
    assert filled.uids == ["fleet", "node"]
    assert filled.workspace.held["dashboards"]["fleet"]["id"] is None
    [variable] = filled.workspace.held["dashboards"]["fleet"]["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "grafana-amazonprometheus-datasource")
    sources = filled.workspace.held["datasources"]
    assert sources["prometheus"]["type"] == "grafana-amazonprometheus-datasource"
    assert sources["prometheus"]["jsonData"]["sigV4AuthType"] == "ec2_iam_role"
    # Grafana takes 15 seconds by default, and its rates would have too few samples.
    assert sources["prometheus"]["jsonData"]["timeInterval"] == "60s"
    # Silences are made with this source, which has the rights of the workspace's role.
    alerts = sources["alertmanager"]
    assert alerts["url"] == f"{sources['prometheus']['url']}/alertmanager"
    assert alerts["jsonData"]["implementation"] == "prometheus"
    assert alerts["jsonData"]["sigV4AuthType"] == "ec2_iam_role"
    assert sources["cloudwatch"]["jsonData"]["authType"] == "ec2_iam_role"
    assert filled.workspace.accounts == filled.workspace.tokens == {}


def test_an_update_replaces_dashboards_and_takes_away_those_that_are_gone(filled: Filled) -> None:
    filled.send("Create", ["fleet", "node"])
    assert filled.send("Update", ["fleet", "efa"], ["fleet", "node"])[0] == "SUCCESS"
    assert filled.uids == ["efa", "fleet"]


def test_a_refusal_is_answered_and_leaves_no_account(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_given: Any) -> None:
        raise grafana_api.GrafanaError("POST", "/api/dashboards/db", 500, "full")

    monkeypatch.setattr(grafana_api.Grafana, "put_dashboard", refuse)
    status, reason = filled.send("Create", ["fleet"])
    assert status == "FAILED"
    assert "status 500: full" in reason
    assert filled.workspace.accounts == filled.workspace.tokens == {}


def test_a_deleted_workspace_is_not_asked(filled: Filled) -> None:
    filled.service.workspaces.clear()
    assert filled.send("Delete", ["fleet"]) == ("SUCCESS", "")


def test_the_older_grafana_signs_by_itself() -> None:
    assert index.data_source_type("10.4") == "prometheus"
    assert index.data_source_type("12.4") == "grafana-amazonprometheus-datasource"


def test_a_token_is_not_sent_over_an_open_connection() -> None:
    with pytest.raises(ValueError, match="not of https"):
        grafana_api.Grafana("http://g-1.grafana-workspace.us-west-2.amazonaws.com", "secret")
