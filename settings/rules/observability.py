"""Rules on metrics and alerts of a deployment."""

from __future__ import annotations

import re
from collections.abc import Iterator

from catalog.cluster_kinds import BATCH, KUBERNETES, SLURM
from catalog.observability import MIN_COLLECTOR_SECONDS, WORKSPACE_ID
from settings.rules.rule import Problem, Subject, error, warning
from settings.rules.selection import facts

_TOPIC = r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[\w-]{1,256}"
_KEY = r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[\w-]+"


@error("observability-workspace")
def _workspace(subject: Subject) -> Iterator[Problem]:
    """A workspace has an id of one form; the service refuses any other when the stack is deployed."""
    section = subject.settings.observability
    if section and section.workspace_id is not None and not re.fullmatch(WORKSPACE_ID, section.workspace_id):
        yield Problem(
            "observability.workspace_id",
            section.workspace_id,
            f"'{section.workspace_id}' is not the id of a workspace, 'ws-' and a UUID",
            "'aws amp list-workspaces' prints the ids",
        )


@error("observability-existing-workspace")
def _existing(subject: Subject) -> Iterator[Problem]:
    """Retention, key and alert manager belong to the workspace, which is not changed where it exists already."""
    section = subject.settings.observability
    if section is None or section.workspace_id is None:
        return
    for key in ("kms_key_arn", "alerts", "retention_days"):
        if key in section.model_fields_set and getattr(section, key):
            yield Problem(
                f"observability.{key}",
                "",
                f"'{key}' is of a new workspace, and 'observability.workspace_id' names an existing one",
                "remove one of the two",
            )


@error("observability-arn")
def _arns(subject: Subject) -> Iterator[Problem]:
    """A key and a topic are named by their whole ARN; an alias or a name is not taken."""
    section = subject.settings.observability
    if section is None:
        return
    given = [("observability.kms_key_arn", section.kms_key_arn, _KEY, "key")]
    given += [
        (f"observability.alerts.{severity}.topic_arn", route.topic_arn, _TOPIC, "topic")
        for severity, route in section.alerts.items()
    ]
    for path, arn, form, what in given:
        if arn is None:
            continue
        if not re.fullmatch(form, arn, re.ASCII):
            yield Problem(
                path, arn, f"'{arn}' is not the ARN of a {what}", f"copy the {what}'s ARN from its page"
            )


@error("observability-route")
def _routes(subject: Subject) -> Iterator[Problem]:
    """Addresses are subscribed to a topic of the stack's own; those of an existing topic are its owner's."""
    section = subject.settings.observability
    for severity, route in (section.alerts if section else {}).items():
        if route.topic_arn and route.emails:
            yield Problem(
                f"observability.alerts.{severity}.emails",
                ", ".join(route.emails),
                f"alerts of severity '{severity}' go to an existing topic, whose subscriptions are not changed",
                "remove 'emails' and subscribe them to the topic, or remove 'topic_arn'",
            )


@error("observability-scrape-seconds", too_strict=True)
def _interval(subject: Subject) -> Iterator[Problem]:
    """The collector that AWS runs for Kubernetes has a shortest interval; an agent on nodes has none."""
    section = subject.settings.observability
    kubernetes = [cluster for cluster in KUBERNETES if cluster in subject.settings.clusters]
    if section and kubernetes and section.scrape_seconds < MIN_COLLECTOR_SECONDS:
        yield Problem(
            "observability.scrape_seconds",
            section.scrape_seconds,
            f"AWS's collector of '{kubernetes[0]}' scrapes every {MIN_COLLECTOR_SECONDS} seconds at most",
            f"set 'scrape_seconds' to {MIN_COLLECTOR_SECONDS} or more",
        )


@error("observability-capacity-end")
def _capacity_end(subject: Subject) -> Iterator[Problem]:
    """The warning comes first: a critical alert at the same time or before it would make it useless."""
    section = subject.settings.observability
    if section and section.capacity_end.critical_hours >= section.capacity_end.warning_hours:
        ends = section.capacity_end
        yield Problem(
            "observability.capacity_end.critical_hours",
            ends.critical_hours,
            f"the critical alert comes {ends.critical_hours} hours before the end of capacity, and the warning "
            f"{ends.warning_hours} hours before it",
            "set 'critical_hours' to less than 'warning_hours'",
        )


@warning("observability-nobody", depends_on=("observability.alerts",))
def _nobody(subject: Subject) -> Iterator[Problem]:
    """An alert that nobody gets is found when the money is spent."""
    settings = subject.settings
    section = settings.observability
    if section is None or section.workspace_id:
        return
    route = section.alerts.get("critical")
    if not (route and route.has_recipients) and not settings.notifications.emails:
        yield Problem(
            "observability.alerts",
            "",
            "nobody gets critical alerts",
            "add 'notifications.emails', or 'observability.alerts.critical' with 'emails' or a 'topic_arn'",
        )


@warning("observability-unused")
def _unused(subject: Subject) -> Iterator[Problem]:
    """A workspace without a cluster stays empty."""
    settings = subject.settings
    if settings.observability and not settings.clusters:
        yield Problem(
            "observability",
            "",
            "no cluster of this configuration sends metrics",
            "add a cluster, or remove 'observability'",
        )


@warning("observability-isolated", depends_on=("network.isolated",))
def _isolated(subject: Subject) -> Iterator[Problem]:
    """Nodes download Prometheus and its node exporter from GitHub, which an isolated network cannot reach."""
    settings = subject.settings
    if not (settings.observability and settings.network.isolated) or settings.network.existing:
        return
    for cluster in (*SLURM, BATCH.name):
        if cluster in settings.clusters:
            yield Problem(
                f"{cluster}",
                "",
                "nodes cannot download Prometheus in an isolated network: they continue without metrics",
                "put the programs into an image of your own at the paths that docs/observability.md names, "
                "or remove 'observability'",
            )


@error("grafana-managed")
def _managed(subject: Subject) -> Iterator[Problem]:
    """Amazon Managed Grafana has no machine to choose."""
    section = subject.settings.observability
    grafana = section.grafana if section else None
    if grafana is None or grafana.kind == "instance":
        return
    for key in ("instance_type", "volume_gib"):
        if key in grafana.model_fields_set:
            yield Problem(
                f"observability.grafana.{key}",
                getattr(grafana, key),
                f"'{key}' is of a Grafana on an instance, and this one is Amazon Managed Grafana",
                f"remove '{key}', or set 'kind: instance'",
            )


@error("grafana-architecture", depends_on=("observability.grafana.instance_type",))
def _architecture(subject: Subject) -> Iterator[Problem]:
    """Grafana's instance starts from an image, and installs an archive, of the x86_64 architecture."""
    section = subject.settings.observability
    grafana = section.grafana if section else None
    found = facts(grafana.instance_type) if grafana and grafana.kind == "instance" else None
    if grafana and found and found.architecture != "x86_64":
        yield Problem(
            "observability.grafana.instance_type",
            grafana.instance_type,
            f"'{grafana.instance_type}' is of the architecture {found.architecture}, and Grafana's image is of x86_64",
            "choose a type of x86_64",
        )


@error("grafana-isolated", depends_on=("network.isolated",))
def _grafana_isolated(subject: Subject) -> Iterator[Problem]:
    """Grafana's instance installs packages of Ubuntu's mirrors, Grafana's archive and its plugin from the internet."""
    settings = subject.settings
    grafana = settings.observability.grafana if settings.observability else None
    if grafana and grafana.kind == "instance" and settings.network.isolated and not settings.network.existing:
        yield Problem(
            "observability.grafana.kind",
            grafana.kind,
            "Grafana's instance needs Ubuntu's mirrors and Grafana's downloads, which an isolated network cannot reach",
            "choose 'kind: managed', or remove 'network.isolated'",
        )


@warning("observability-hyperpod-eks", depends_on=("hyperpod_eks",))
def _hyperpod_eks(subject: Subject) -> Iterator[Problem]:
    """HyperPod's observability add-on has every exporter of its nodes, and nothing else is installed beside it."""
    settings = subject.settings
    if settings.observability and settings.hyperpod_eks and settings.hyperpod_eks.observability is None:
        yield Problem(
            "hyperpod_eks.observability",
            "",
            "the HyperPod cluster on EKS sends no metrics: its add-on is not installed",
            "add 'hyperpod_eks.observability: {}'; it sends to the deployment's workspace",
        )


@warning("observability-lifecycle-scripts", depends_on=("hyperpod",))
def _lifecycle_scripts(subject: Subject) -> Iterator[Problem]:
    """Lifecycle scripts of your own set nodes up in place of the set-up that installs the collector."""
    settings = subject.settings
    if settings.observability and settings.hyperpod and settings.hyperpod.lifecycle_scripts:
        yield Problem(
            "hyperpod.lifecycle_scripts",
            settings.hyperpod.lifecycle_scripts.directory,
            "nodes run these scripts and not the set-up of this project, so they send no metrics",
            "install a collector in them that sends to the address in the deployment's SSM parameter, or remove them",
        )
