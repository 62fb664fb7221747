"""Quotas of teams and the priorities of a cluster's tasks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct, IDependable

from catalog.compute_quota import ComputeQuota
from catalog.hyperpod_eks import TASK_GOVERNANCE
from trainforge.acknowledgement import acknowledge_wildcards
from trainforge.eks.cluster import KubernetesCluster
from trainforge.handler_function import handler_function, handler_role
from trainforge.hyperpod.eks_cluster import HyperPodEksCluster
from trainforge.hyperpod.governance.quota import quota_properties


class TaskGovernance(Construct):
    """Task governance of a cluster: the quotas of teams, and the priorities of tasks.

    The add-on first, then the cluster's scheduler configuration (priority classes by weight, and how idle compute is
    shared out), then a quota per team. CloudFormation has no resource for quotas, and for the configuration only in
    some regions; a function of ours makes them, and each is nevertheless a resource of the stack: created, updated in
    place, deleted, and rolled back with it. A team's jobs run in its namespace, `hyperpod-ns-` and its name, which the
    service makes.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        kubernetes: KubernetesCluster,
        cluster: HyperPodEksCluster,
        priorities: Mapping[str, int],
        fair_share: bool,
        quotas: Mapping[str, ComputeQuota],
    ) -> None:
        super().__init__(scope, construct_id)
        self._cluster = cluster
        add_on = kubernetes.add_on(TASK_GOVERNANCE)
        # It manages the cluster's nodes, and leaves before them.
        add_on.node.add_dependency(cluster)
        self._role = self._allowed(cluster.cluster_arn)
        self._function = handler_function(
            self,
            name="hyperpod_governance",
            description="Keeps quotas and priorities of a HyperPod cluster",
            role=self._role,
            timeout_minutes=10,
        )
        scheduler: dict[str, Any] = {"FairShare": "Enabled" if fair_share else "Disabled"}
        if priorities:
            scheduler["PriorityClasses"] = [
                {"Name": name, "Weight": weight} for name, weight in priorities.items()
            ]
        policy = self._governance_resource(
            "Policy",
            "ClusterSchedulerConfig",
            f"{cluster.cluster_name}-policy",
            {"SchedulerConfig": scheduler},
            add_on,
        )
        for team, quota in quotas.items():
            # The dash stays before a digit: `a-1` and `a1` are two teams.
            suffix = "".join(
                part.capitalize() if part[:1].isalpha() else f"-{part}" for part in team.split("-")
            )
            self._governance_resource(
                f"Team{suffix}", "ComputeQuota", f"{team}-quota", quota_properties(quota, team), policy
            )

    def _governance_resource(
        self, construct_id: str, kind: str, name: str, fields: Mapping[str, Any], after: IDependable
    ) -> cdk.CustomResource:
        resource = cdk.CustomResource(
            self,
            construct_id,
            resource_type=f"Custom::Trainforge{kind}",
            service_token=self._function.function_arn,
            service_timeout=cdk.Duration.minutes(11),
            properties={
                "Kind": kind,
                "ClusterArn": self._cluster.cluster_arn,
                "Name": name,
                "Fields": json.dumps(fields, sort_keys=True),
            },
        )
        # The role's policy must outlive the resource, or its last call is refused.
        resource.node.add_dependency(self._role, after)
        return resource

    def _allowed(self, cluster_arn: str) -> iam.Role:
        role = handler_role(self)
        stack = cdk.Stack.of(self)
        things = {
            kind: stack.format_arn(service="sagemaker", resource=resource, resource_name="*")
            for kind, resource in (
                ("ComputeQuota", "compute-quota"),
                ("ClusterSchedulerConfig", "cluster-scheduler-config"),
            )
        }
        verbs = ("Create", "Delete", "Describe", "Update")
        role.add_to_policy(
            iam.PolicyStatement(
                actions=[
                    "sagemaker:AddTags",
                    "sagemaker:ListTags",
                    *(f"sagemaker:{verb}{kind}" for kind in things for verb in verbs),
                ],
                resources=[*things.values(), cluster_arn],
            )
        )
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["sagemaker:ListClusterSchedulerConfigs", "sagemaker:ListComputeQuotas"],
                resources=["*"],
            )
        )
        acknowledge_wildcards(
            role, "ids are made by the service, and listing takes no resource", *things.values(), "*"
        )
        return role
