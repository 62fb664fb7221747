"""The software of an EKS cluster: add-ons, device plugins, job operators and queues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_s3 as s3
from constructs import Construct

from catalog.charts import KUEUE_CHART, TRAINER_CHART, Chart
from catalog.devices import NO_DEVICES, Devices
from catalog.eks import AddOn
from catalog.job_queues import Queue
from catalog.pool import Pool
from trainforge.construct_ids import pascal
from trainforge.eks.add_ons import add_ons
from trainforge.eks.cluster import KubernetesCluster
from trainforge.eks.devices import device_charts
from trainforge.eks.job_rbac import job_rbac
from trainforge.eks.kuberay_operator import kuberay_operator
from trainforge.eks.mpi_operator import mpi_operator
from trainforge.eks.objects import Document, Objects
from trainforge.eks.queues import kueue_objects, kueue_values
from trainforge.eks.runtimes import torch_runtimes
from trainforge.eks.training_operator import training_operator
from trainforge.eks.volumes import BucketVolume, LustreVolume, bucket, lustre, namespace
from trainforge.helm import RepositoryChart

_FRAMEWORKS = {
    "trainer": ("jobset.x-k8s.io/jobset", "trainer.kubeflow.org/trainjob"),
    "training-operator": ("kubeflow.org/pytorchjob",),
    "mpi-operator": ("kubeflow.org/mpijob",),
    "kuberay": ("ray.io/rayjob",),
}
"""Kueue's names of each operator's jobs (kueue 0.19, integrations)."""


@dataclass(frozen=True, slots=True)
class Software:
    """The list of software to install on a cluster; nothing else is installed.

    `jobs` are operators: trainer, training-operator, mpi-operator, kuberay. With `queues` Kueue is installed, and holds
    jobs of these operators back until their share of the pools is free. What another installs already (HyperPod's
    chart, an add-on) is left out here: `catalog.operators.clashes` returns what may not be installed together.
    """

    add_ons: Mapping[str, AddOn] = field(default_factory=dict)
    devices: Devices = NO_DEVICES
    jobs: tuple[str, ...] = ()
    queues: tuple[Queue, ...] = ()


@dataclass(frozen=True, slots=True)
class JobNamespace:
    """The namespace of jobs, and the volumes that they claim there."""

    deployment: str
    namespace: str
    lustre: LustreVolume | None = None
    bucket: BucketVolume | None = None


class ClusterSoftware(Construct):
    """Installs software in the order in which it needs each other, and removes it in the opposite order.

    Add-ons; then operators and device plugins; then Kueue, which looks for the operators' jobs; then the namespace of
    the jobs with its volumes and queues. At the end the namespace goes first, with every job in it, while drivers and
    operators are there to release their objects. `ready` is what a job waits for, and `shared_claim` the claim of the
    shared file system in the namespace, empty without one. A cluster with add-ons only has no function and no kubectl.
    `gpu_counters` says that the cluster's metrics bring the list of what NVIDIA's operator is to export.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cluster: KubernetesCluster,
        software: Software,
        pools: Sequence[Pool],
        job_namespace: JobNamespace,
        data_bucket: s3.IBucket,
        hyperpod_cluster_arn: str | None = None,
        gpu_counters: bool = False,
    ) -> None:
        super().__init__(scope, construct_id)
        self._cluster, self._software, self._pools = cluster, software, list(pools)
        self.add_ons = add_ons(
            cluster, software.add_ons, bucket=data_bucket, hyperpod_cluster_arn=hyperpod_cluster_arn
        )
        drivers = list(self.add_ons.values())
        self.devices = [
            self._chart(one.chart, values=one.values)
            for one in device_charts(
                self._pools,
                software.devices,
                region=cdk.Stack.of(self).region,
                kubernetes_version=cluster.kubernetes_version,
                gpu_counters=gpu_counters,
            )
        ]
        self.operators = self._operators()
        self.kueue = self._kueue()
        self.ready: list[Construct] = [*drivers, *self.devices, *self.operators, *self.kueue]
        self.job_namespace = self._job_namespace(job_namespace)
        self.shared_claim = job_namespace.lustre.claim if job_namespace.lustre else ""

    def _chart(
        self,
        chart: Chart,
        *,
        values: Mapping[str, Any] | None = None,
        wait: bool = False,
        after: Sequence[Construct] = (),
    ) -> Construct:
        return self._cluster.releases.release(
            self,
            pascal(chart.name),
            RepositoryChart(chart.repository, chart.name, str(chart.version)),
            release=chart.release,
            namespace=chart.namespace,
            values=values,
            wait=wait,
            after=after,
        )

    def _objects(
        self, construct_id: str, release: str, documents: Sequence[Document], after: Sequence[Construct] = ()
    ) -> Objects:
        return Objects(
            self, construct_id, cluster=self._cluster, release=release, documents=documents, after=after
        )

    def _operators(self) -> list[Construct]:
        """Install the operators; those of ours are releases too, because no chart of their makers' is published."""
        found: list[Construct] = []
        for name in self._software.jobs:
            if name == "trainer":
                # Its check of runtimes must answer before the runtime comes.
                trainer = self._chart(TRAINER_CHART, wait=True)
                found += [
                    trainer,
                    self._objects("TorchRuntime", "torch-runtime", torch_runtimes(), [trainer]),
                ]
            elif name == "training-operator":
                found.append(self._objects("TrainingOperator", name, training_operator()))
            elif name == "mpi-operator":
                found.append(self._objects("MpiOperator", name, mpi_operator()))
            else:
                assert name == "kuberay", name
                found.append(self._objects("KubeRay", name, kuberay_operator()))
        return found

    def _kueue(self) -> list[Construct]:
        if not self._software.queues:
            return []
        frameworks = ["batch/job", *(one for name in self._software.jobs for one in _FRAMEWORKS[name])]
        values = kueue_values(frameworks)
        return [self._chart(KUEUE_CHART, values=values, wait=True, after=self.operators)]

    def _job_namespace(self, jobs: JobNamespace) -> Objects | None:
        """Make the namespace, its rights, volumes and queues, after all that lets go of them."""
        name = jobs.namespace
        documents = namespace(name) + job_rbac(name)
        if jobs.lustre:
            documents += lustre(jobs.lustre, deployment=jobs.deployment, namespace_=name)
        if jobs.bucket:
            documents += bucket(jobs.bucket, deployment=jobs.deployment, namespace_=name)
        if self._software.queues:
            documents += kueue_objects(
                self._pools, self._software.queues, namespace=name, cohort=jobs.deployment
            )
        if not (self._software.jobs or jobs.lustre or jobs.bucket):
            return None
        release = f"{name}-namespace"
        # Another name is another resource: the function of the CDK would install the new release and leave the old one.
        made = self._objects(pascal(release), release, documents, self.ready)
        self.ready.append(made)
        return made
