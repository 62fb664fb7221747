"""Installs Helm charts on an EKS cluster and removes them with the stack, for CloudFormation.

The CDK's own handler neither recovers from a call that was cut off, nor reports a deletion that failed, nor installs a
chart that is in no chart repository. CloudFormation always receives an answer: FAILED with the reason on any exception.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3

from ..cloudformation_response import answer
from . import access, release, source, tools

_ANSWER_MARGIN_SECONDS = 30


def handler(event: dict[str, Any], context: Any) -> None:
    """Answer one CloudFormation event."""
    properties = event["ResourceProperties"]
    # Another cluster, namespace or name is another resource: CloudFormation deletes the old one when all is updated.
    made = "/".join((properties["ClusterName"], properties["Namespace"], properties["Release"]))
    known = event.get("PhysicalResourceId", made)
    deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - _ANSWER_MARGIN_SECONDS
    try:
        with tempfile.TemporaryDirectory() as folder:
            _serve(event, properties, Path(folder), deadline)
        answer(event, known if event["RequestType"] == "Delete" else made, "SUCCESS", "")
    except Exception as error:  # CloudFormation must receive any failure, or it waits for an hour.
        answer(event, known, "FAILED", f"{type(error).__name__}: {error}")


def _serve(event: dict[str, Any], properties: dict[str, Any], folder: Path, deadline: float) -> None:
    cluster = properties["ClusterName"]
    config = access.kubeconfig(
        folder / "kubeconfig",
        cluster=cluster,
        endpoint=properties["Endpoint"],
        authority=properties["CertificateAuthority"],
        bearer=access.token(boto3.Session(), cluster, os.environ["AWS_REGION"]),
        namespace=properties["Namespace"],
    )
    programs = tools.Tools(config, deadline)
    one = release.Release(properties["Release"], properties["Namespace"], programs, _owner(event))
    if event["RequestType"] == "Delete":
        one.remove()
        return
    if event["RequestType"] == "Create":
        one.check_owner()
    chart = _chart(properties, folder, programs)
    one.apply(chart, json.loads(properties["Values"]), wait=properties["Wait"] == "true")


def _owner(event: dict[str, Any]) -> str:
    """Return what names a resource of a stack, as the value of a label."""
    named = f"{event['StackId']}/{event['LogicalResourceId']}"
    return hashlib.sha256(named.encode()).hexdigest()[:40]


def _chart(properties: dict[str, Any], folder: Path, programs: tools.Tools) -> Path:
    """Return the folder of the chart that the properties name, with all its parts."""
    if "Commit" not in properties:
        return source.pull(
            programs, properties["Repository"], properties["Chart"], properties["Version"], folder
        )
    chart: Path = (
        source.fetch(properties["Repository"], properties["Commit"], folder, programs.deadline)
        / properties["Chart"]
    )
    source.verify(chart, properties["Digest"])
    for dependency in properties["LeftOut"]:
        source.leave_out(chart, dependency)
    source.resolve(programs, chart, properties["Archives"])
    return chart
