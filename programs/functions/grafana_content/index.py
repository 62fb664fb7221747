"""Puts data sources and dashboards into a workspace of Amazon Managed Grafana, which has no resource for them.

The token that it needs is of a service account made for one call: it is valid for ten minutes and is deleted with
the account when the call ends. Dashboards are objects of a bucket, by key. CloudFormation always receives an answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3

from ..cloudformation_response import answer
from .grafana_api import Grafana

_FOLDER = "trainforge"
_TOKEN_SECONDS = 600
_PLAIN = "prometheus"
_FIRST_WITHOUT_SIGV4 = 12
"""The version from which Grafana's own Prometheus data source signs nothing (Amazon Managed Grafana guide, "Manually
add the Prometheus data source")."""

_WORKSPACE_ROLE = "ec2_iam_role"
"""The way to sign that forms in Amazon Managed Grafana call "Workspace IAM Role" (grafana/grafana-aws-sdk,
pkg/awsauth/authtype.go, which knows no other name of it)."""


def handler(event: dict[str, Any], context: Any) -> None:
    """Answer one CloudFormation event; a deleted workspace takes its content along."""
    del context
    properties = event["ResourceProperties"]
    physical_id = event.get("PhysicalResourceId") or f"grafana-content-{event['LogicalResourceId']}"
    try:
        if event["RequestType"] != "Delete":
            _fill(properties, event.get("OldResourceProperties", {}), str(event["RequestId"]))
        answer(event, physical_id, "SUCCESS", "")
    except Exception as error:  # CloudFormation must receive any failure, or it waits for an hour.
        answer(event, physical_id, "FAILED", f"{type(error).__name__}: {error}")


def _fill(properties: dict[str, Any], before: dict[str, Any], request: str) -> None:
    client = boto3.client("grafana")
    workspace = client.describe_workspace(workspaceId=properties["WorkspaceId"])["workspace"]
    bucket = boto3.client("s3")
    kind = data_source_type(str(workspace["grafanaVersion"]))
    dashboards = [
        dashboard(bucket.get_object(Bucket=properties["Bucket"], Key=key)["Body"].read().decode(), kind)
        for key in properties["Dashboards"]
    ]
    # The service names a host, and a service in its place, in tests, a whole address.
    endpoint = str(workspace["endpoint"])
    address = endpoint if "://" in endpoint else f"https://{endpoint}"
    with _token(client, properties["WorkspaceId"], f"trainforge-{request}") as token:
        grafana = Grafana(address, token)
        for source in data_sources(properties, kind):
            grafana.put_data_source(source)
        grafana.put_folder(_FOLDER, _FOLDER)
        for one in dashboards:
            grafana.put_dashboard(one, _FOLDER)
        for uid in sorted(set(before.get("Uids", [])) - set(properties["Uids"])):
            grafana.delete_dashboard(uid)


def data_source_type(version: str) -> str:
    """Return the type of data source that signs requests for Amazon Managed Prometheus in a version of Grafana."""
    signs = int(version.split(".")[0]) < _FIRST_WITHOUT_SIGV4
    return _PLAIN if signs else "grafana-amazonprometheus-datasource"


def dashboard(text: str, kind: str) -> dict[str, Any]:
    """Return a dashboard that offers data sources of the type `kind`, where its file says Prometheus' own."""
    for key in ("type", "query"):
        text = text.replace(f'"{key}": "{_PLAIN}"', f'"{key}": "{kind}"')
    document: dict[str, Any] = json.loads(text)
    return document


def data_sources(properties: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Return the data sources as the API takes them: metrics, of the type `kind`, their alerts, and CloudWatch."""
    region = properties["Region"]
    signed = {"sigV4Auth": True, "sigV4AuthType": _WORKSPACE_ROLE, "sigV4Region": region}
    return [
        {
            "uid": "prometheus",
            "name": "Prometheus",
            "type": kind,
            "access": "proxy",
            "url": properties["MetricsUrl"],
            "isDefault": True,
            "jsonData": {
                "httpMethod": "POST",
                "alertmanagerUid": "alertmanager",
                # Grafana's own default is 15 seconds: rates would be over fewer samples than they need.
                "timeInterval": f"{properties['ScrapeSeconds']}s",
                **signed,
            },
        },
        {
            "uid": "alertmanager",
            "name": "Alert manager",
            "type": "alertmanager",
            "access": "proxy",
            # Amazon Managed Grafana guide, "Connect to an Alertmanager data source".
            "url": f"{properties['MetricsUrl']}/alertmanager",
            "jsonData": {"implementation": "prometheus", "handleGrafanaManagedAlerts": False, **signed},
        },
        {
            "uid": "cloudwatch",
            "name": "CloudWatch",
            "type": "cloudwatch",
            "access": "proxy",
            "jsonData": {"authType": _WORKSPACE_ROLE, "defaultRegion": region},
        },
    ]


@contextmanager
def _token(client: Any, workspace: str, name: str) -> Iterator[str]:
    """Yield the token of a service account that is deleted afterwards, whatever happens."""
    account = client.create_workspace_service_account(grafanaRole="ADMIN", name=name, workspaceId=workspace)[
        "id"
    ]
    try:
        made = client.create_workspace_service_account_token(
            name=name, secondsToLive=_TOKEN_SECONDS, serviceAccountId=account, workspaceId=workspace
        )
        yield str(made["serviceAccountToken"]["key"])
    finally:
        client.delete_workspace_service_account(serviceAccountId=account, workspaceId=workspace)
