"""The settings of the section `hyperpod_eks` as the constructs take them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from catalog.compute_quota import ComputeQuota
from catalog.devices import NO_DEVICES
from settings.deployment import Settings
from settings.sections.eks import JobOperator, SoftwareSettings
from settings.sections.hyperpod_eks import (
    HyperPodEksSettings,
    ObservabilitySettings,
    TaintSettings,
)
from trainforge.hyperpod.observability_config import ObservabilityConfig

_EFFECTS = {
    "no-schedule": "NoSchedule",
    "prefer-no-schedule": "PreferNoSchedule",
    "no-execute": "NoExecute",
}


def software_settings(section: HyperPodEksSettings) -> SoftwareSettings:
    """Return the software to install beside HyperPod's own, as settings of the section `eks`.

    Devices are the chart's, and queues those of task governance.
    """
    trainer: list[JobOperator] = ["trainer"] if section.trainer else []
    return SoftwareSettings(
        add_ons=dict(section.add_ons),
        devices=NO_DEVICES,
        jobs=[*trainer, *section.jobs],
        bucket_claim=section.bucket_claim,
        cert_manager=section.training_operator,
    )


def taint(given: TaintSettings) -> dict[str, str]:
    """Return a taint in the spelling of the HyperPod API."""
    value = {"Value": given.value} if given.value else {}
    return {"Key": given.key, **value, "Effect": _EFFECTS[given.effect]}


def toleration(given: TaintSettings) -> dict[str, str]:
    """Return what a pod needs to run in spite of a taint, as its specification has it."""
    value = {"operator": "Equal", "value": given.value} if given.value else {"operator": "Exists"}
    return {"key": given.key, **value, "effect": _EFFECTS[given.effect]}


def quota_by_type(quota: ComputeQuota, settings: Settings) -> ComputeQuota:
    """Return a team's quota, which a configuration counts by pool, by instance type."""
    return replace(
        quota, nodes=_by_type(quota.nodes, settings), accelerators=_by_type(quota.accelerators, settings)
    )


def observability_config(section: ObservabilitySettings, *, task_governance: bool) -> ObservabilityConfig:
    """Return the observability add-on's configuration; `task_governance` includes the metrics of task governance."""
    return ObservabilityConfig(
        advanced=section.detail == "advanced",
        efa=section.efa,
        governance=task_governance,
        pod_logs=section.pod_logs,
        days=section.metric_days,
    )


def _by_type(shares: Mapping[str, int], settings: Settings) -> dict[str, int]:
    """Return shares of pools as shares of instance types, which is what quotas count."""
    types: Counter[str] = Counter()
    for pool, count in shares.items():
        types[settings.pools[pool].instance_type] += count
    return dict(types)
