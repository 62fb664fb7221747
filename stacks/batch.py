"""The Batch stack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from catalog.batch import HOST_FOLDER, host_image
from catalog.cluster_info import ClusterInfo
from catalog.instances import instance
from catalog.interfaces import groups_on_interfaces
from stacks.cluster_stack import ClusterStack, DeploymentContext
from stacks.launch_artifacts import shipped_runs
from stacks.node_metrics import node_metrics
from trainforge.batch.dashboard import JobDashboard
from trainforge.batch.host import HostRole, user_data
from trainforge.batch.host_metrics import HostMetrics
from trainforge.batch.host_termination import TAG, HostTermination
from trainforge.batch.job_definition import JobDefinition
from trainforge.batch.job_roles import ExecutionRole, JobRole
from trainforge.batch.job_traffic import JobTraffic
from trainforge.batch.queue import (
    CAPACITY,
    TOO_LARGE,
    UNFIT,
    FairShare,
    HostDefaults,
    PoolQueue,
    time_limits,
)
from trainforge.construct_ids import pascal
from workloads.render.all import render

_QUEUES_A_RULE = 12
"""Queues that a rule names: EventBridge takes 2048 characters a pattern, and a queue's ARN may have 150."""

_EVENTS = {
    "JobsFailed": ("Batch Job State Change", "FAILED", "jobs that failed"),
    "QueuesBlocked": ("Batch Job Queue Blocked", "RUNNABLE", "queues that a job blocks"),
}
"""By rule: the event's detail type, the job's status in it, and what the rule counts."""


class BatchStack(ClusterStack):
    """AWS Batch for jobs of many nodes: a compute environment and a queue for each pool, and jobs' roles and logs."""

    section = "batch"

    def __init__(self, scope: Construct, construct_id: str, *, context: DeploymentContext) -> None:
        settings = context.settings
        assert settings.batch
        self._cluster_settings = settings.batch
        super().__init__(scope, construct_id, context=context)
        self.log_group = self._log_group()
        self.job_role = JobRole(self, "JobRole")
        self.execution_role = ExecutionRole(
            self,
            "ExecutionRole",
            log_group=self.log_group,
            secret_arns=list(self._cluster_settings.secrets.values()),
        )
        self._grant(images=self.execution_role, data=[self.job_role])
        self.host_role = HostRole(self, "HostRole")
        self.log_group.grant_write(self.host_role)
        self._metrics = self._host_metrics(context)
        self._allow_job_traffic()
        self.queues = self._queues()
        rules = self._notify()
        if self._terminates:
            HostTermination(self, "HostTermination", topic=self.notifications.topic)
        self.dashboard = self._dashboard(rules) if self._cluster_settings.dashboard else None
        info = self._publish(self._info(), "Topic of failed jobs and blocked queues", self._outputs())
        self.definitions = self._definitions(info)

    @property
    def _terminates(self) -> bool:
        """True if hosts with a fault are terminated."""
        health = self._cluster_settings.health
        return health is not None and health.action == "terminate"

    def _log_group(self) -> logs.LogGroup:
        group = logs.LogGroup(self, "Logs", removal_policy=self._removal_policy())
        resource = group.node.default_child
        assert isinstance(resource, logs.CfnLogGroup)
        # The L2 takes names of periods, the service and our settings days.
        resource.retention_in_days = self._cluster_settings.log_days
        return group

    def _allow_job_traffic(self) -> None:
        """Open the default group of our own VPC to jobs of pools with EFA; the check `batch-default-group` warns of
        another's."""
        vpc = self._network.vpc
        if isinstance(vpc, ec2.Vpc) and any(
            groups_on_interfaces(instance(pool.instance_type)) for pool in self._pools
        ):
            JobTraffic(self, "JobTraffic", group_id=vpc.vpc_default_security_group)

    def _queues(self) -> dict[str, PoolQueue]:
        section = self._cluster_settings
        defaults = self._host_defaults()
        fair = section.fair_share
        fair_share = (
            FairShare(
                self,
                "FairShare",
                weights=fair.weights,
                decay_minutes=fair.decay_minutes,
                reserved_percent=fair.reserved_percent,
            )
            if fair
            else None
        )
        limits = time_limits(
            {
                CAPACITY: section.runnable_limits.capacity_minutes,
                TOO_LARGE: section.runnable_limits.too_large_minutes,
                UNFIT: section.runnable_limits.unfit_minutes,
            }
        )
        queues = {}
        for pool in self._pools:
            kept = section.min_nodes.get(pool.name, 0)
            queues[pool.name] = queue = PoolQueue(
                self,
                f"Pool{pascal(pool.name)}",
                pool=pool,
                subnet=self._network.private_subnet(pool.availability_zone),
                defaults=defaults,
                min_nodes=kept,
                limits=limits,
                fair_share=fair_share,
            )
            if kept:
                # Such hosts start at once: their rights must exist before them.
                queue.environment.node.add_dependency(self.host_role)
                if self._metrics:
                    queue.environment.node.add_dependency(self._metrics.upload)
        return queues

    def _host_metrics(self, context: DeploymentContext) -> HostMetrics | None:
        """Return the collector of the hosts' metrics, with its rights; None without a workspace."""
        observability = context.services.observability
        if observability is None:
            return None
        metrics = HostMetrics(
            self,
            "Metrics",
            bucket=self._storage.scripts_bucket,
            configuration={
                **node_metrics(self._settings, cluster=self.stack_name, kind=self.section),
                "host_folder": HOST_FOLDER,
            },
        )
        observability.grant_write(self.host_role)
        metrics.grant_read(self.host_role, observability.exporters.prefix)
        return metrics

    def _host_defaults(self) -> HostDefaults:
        profile = iam.CfnInstanceProfile(self, "HostProfile", roles=[self.host_role.role_name])
        storage = self._storage
        shared = storage.lustre_client_mount
        assert shared, "settings were checked"
        found = (host_image(instance(pool.instance_type)) for pool in self._pools)
        parameters = sorted({image.parameter for image in found if image and image.parameter})
        return HostDefaults(
            security_group_id=self._network.efa_security_group.security_group_id,
            instance_profile_arn=profile.attr_arn,
            user_data=user_data(shared, *([self._metrics.script] if self._metrics else [])),
            images={name: self._image(name) for name in parameters},
            image_id=self._node_image(),
            tags={**self._node_tags(), **({TAG: self.stack_name} if self._terminates else {})},
        )

    def _image(self, parameter: str) -> str:
        """Return the id of a public image, which CloudFormation reads whenever the stack changes.

        The mark in the description keeps the CLI from deploying an unchanged stack again for the image's sake, which
        would replace the environments of its pools.
        """
        return cdk.CfnParameter(
            self,
            f"Image{pascal(parameter.split('/')[-3].replace('_', '-'))}",
            type="AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>",
            default=parameter,
            description="Image of hosts [cdk:skip]",
        ).value_as_string

    def _definitions(self, info: ClusterInfo) -> dict[str, JobDefinition]:
        """Register a job definition for each run that is shipped, under the name of its manifest in the bundle."""
        found = {}
        for shipped in shipped_runs(self._settings, self.section):
            run = shipped.run
            name = f"{info.deployment}-{run.name}-{run.nodes}x{run.pool.name}"
            definition = JobDefinition(
                self,
                f"Job{pascal(f'{run.name}-{run.nodes}x{run.pool.name}')}",
                name=name,
                text=render(run, shipped.format, info),
            )
            # A job that is submitted as soon as it exists finds the role complete.
            definition.definition.node.add_dependency(self.execution_role, self.job_role)
            found[name] = definition
        return found

    def _notify(self) -> dict[str, str]:
        """Send failed jobs and blocked queues to the topic; return the rules' names by what they count."""
        arns = [queue.queue_arn for queue in self.queues.values()]
        rules = {}
        for first in range(0, len(arns), _QUEUES_A_RULE):
            some = arns[first : first + _QUEUES_A_RULE]
            nth = str(first // _QUEUES_A_RULE + 1) if first else ""
            for rule_id, (detail_type, status, label) in _EVENTS.items():
                rule = self.notifications.on(
                    f"{rule_id}{nth}",
                    description=f"{label} of {self._settings.name}",
                    source="aws.batch",
                    detail_types=[detail_type],
                    detail={"jobQueue": some, "status": [status]},
                )
                rules[f"{label} {nth}".strip()] = rule.rule_name
        return rules

    def _dashboard(self, rules: dict[str, str]) -> JobDashboard:
        mount = self._storage.lustre_mount
        return JobDashboard(
            self,
            "Dashboard",
            title=f"Queues of `{self._settings.name}`: {', '.join(self.queues)}. "
            f"`trainforge launch WORKLOAD --on {self.section}` submits jobs.",
            log_group_name=self.log_group.log_group_name,
            rules=rules,
            file_system_id=mount.file_system_id if mount else "",
        )

    def _info(self) -> ClusterInfo:
        fair = self._cluster_settings.fair_share
        return replace(
            self._info_of(self.stack_name),
            queues={name: queue.queue_arn for name, queue in self.queues.items()},
            shares=tuple(fair.weights) if fair else (),
            priorities=fair.priorities if fair else {},
            log_group=self.log_group.log_group_name,
            roles={
                "job": self.job_role.role_arn,
                "execution": self.execution_role.role_arn,
                "node": self.host_role.role_arn,
            },
            secrets=self._cluster_settings.secrets,
            health=self._cluster_settings.health.action if self._cluster_settings.health else "",
        )

    def _outputs(self) -> Iterator[tuple[str, str, str]]:
        yield "LogGroup", self.log_group.log_group_name, "Log group of jobs"
        if self.dashboard:
            yield "DashboardName", self.dashboard.dashboard_name, "CloudWatch dashboard"
        for name, queue in self.queues.items():
            yield f"Queue{pascal(name)}", queue.queue_arn, f"Job queue of the pool '{name}'"
