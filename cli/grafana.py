"""The way to a deployment's Grafana: its address, or the session that forwards a port of its private instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.sessions import GRAFANA_PORT

if TYPE_CHECKING:
    from settings.deployment import Settings

_TAG = "trainforge:grafana"


class GrafanaError(Exception):
    """There is no Grafana to reach; the text has the reason and the next step."""


@dataclass(frozen=True, slots=True)
class GrafanaAccess:
    """The way to a Grafana: the address of a managed one, or the commands of one on an instance.

    `session` forwards a port for as long as it runs, and `password` prints that of the user admin.
    """

    url: str
    session: tuple[str, ...] = ()
    password: tuple[str, ...] = ()


def grafana_access(settings: Settings, local_port: int = GRAFANA_PORT) -> GrafanaAccess:
    """Return the way to the deployment's Grafana, by its stack's outputs and the tag of the instance.

    Raises:
        GrafanaError: the stack is not deployed or has no Grafana, no instance runs, or AWS cannot be asked.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    stack = f"{settings.name}-observability"
    if settings.observability is None or settings.observability.grafana is None:
        raise GrafanaError(
            f"the configuration of '{settings.name}' has no Grafana; add 'observability.grafana' and deploy it, or "
            "name another configuration by -c FILE"
        )
    try:
        outputs = _outputs(stack, settings.region)
        if url := outputs.get("GrafanaUrl"):
            return GrafanaAccess(url)
        secret = outputs.get("GrafanaSecret")
        if secret is None:
            raise GrafanaError(
                f"stack '{stack}' has no Grafana; add 'observability.grafana' to the configuration and deploy it"
            )
        instance = _instance(settings)
    except (BotoCoreError, ClientError) as error:
        raise GrafanaError(
            f"stack '{stack}' cannot be read in {settings.region}: {error}; 'cdk deploy ObservabilityStack' makes it"
        ) from error
    region = ("--region", settings.region)
    ports = f"portNumber={GRAFANA_PORT},localPortNumber={local_port}"
    document = ("--document-name", "AWS-StartPortForwardingSession", "--parameters", ports)
    return GrafanaAccess(
        f"http://localhost:{local_port}",
        ("aws", "ssm", "start-session", *region, "--target", instance, *document),
        (
            *("aws", "secretsmanager", "get-secret-value", *region, "--secret-id", secret),
            *("--query", "SecretString", "--output", "text"),
        ),
    )


def _outputs(stack: str, region: str) -> Mapping[str, str]:
    import boto3

    [found] = boto3.client("cloudformation", region_name=region).describe_stacks(StackName=stack)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}


def _instance(settings: Settings) -> str:
    import boto3

    pages = (
        boto3.client("ec2", region_name=settings.region)
        .get_paginator("describe_instances")
        .paginate(
            Filters=[
                {"Name": f"tag:{_TAG}", "Values": [settings.name]},
                {"Name": "instance-state-name", "Values": ["running"]},
            ]
        )
    )
    running = [
        str(instance["InstanceId"])
        for page in pages
        for reservation in page["Reservations"]
        for instance in reservation["Instances"]
    ]
    if not running:
        raise GrafanaError(
            f"no instance with the tag '{_TAG}' of '{settings.name}' runs; its auto scaling group starts one, or its "
            "activity says why not"
        )
    return running[0]
