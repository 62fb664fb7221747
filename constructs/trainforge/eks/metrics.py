"""Exporters of a Kubernetes cluster, and which of their pods a collector scrapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from constructs import Construct

from catalog.charts import DCGM_EXPORTER_CHART, GPU_OPERATOR_CHART, KUEUE_CHART
from catalog.devices import Devices
from catalog.instances import instance
from catalog.kubernetes import device_tolerations
from catalog.metrics import JOBS, of_exporter
from catalog.pool import Pool
from catalog.ports import (
    DCGM_EXPORTER_PORT,
    EFA_EXPORTER_PORT,
    KUBE_STATE_METRICS_PORT,
    KUEUE_METRICS_PORT,
    NEURON_MONITOR_PORT,
    NODE_EXPORTER_PORT,
    RUNS_EXPORTER_PORT,
)
from trainforge.eks import neuron_monitor as neuron
from trainforge.eks import runs_exporter as runs
from trainforge.eks.cluster import KubernetesCluster
from trainforge.eks.collector import Collector, CollectorOptions
from trainforge.eks.devices import GPU_COUNTERS, GPU_COUNTERS_FILE, on_types
from trainforge.eks.efa_exporter import NAME as EFA_EXPORTER
from trainforge.eks.efa_exporter import efa_exporter
from trainforge.eks.exporter_images import ExporterImages
from trainforge.eks.exporter_pods import NAMESPACE
from trainforge.eks.objects import Document, Objects
from trainforge.eks.scrape_configuration import ExporterPods
from trainforge.helm import RepositoryChart

NODE_EXPORTER, STATE_METRICS = "prometheus-node-exporter", "kube-state-metrics"
"""Add-ons of EKS with the exporters of nodes and of Kubernetes' state (EKS User Guide, "Community add-ons")."""

_NAME = "app.kubernetes.io/name"


@dataclass(frozen=True, slots=True)
class RunsLocation:
    """The namespace of the jobs, the claim of the shared file system there, and the type of the system nodes."""

    namespace: str
    claim: str
    system_type: str


@dataclass(frozen=True, slots=True)
class MetricsOptions:
    """Options of a cluster's metrics.

    `dcgm_counters` is the file that dcgm-exporter reads. `devices` says whether NVIDIA's operator, which brings an
    exporter of its own, is installed. `runs` is None without a shared file system, `queues` true if Kueue is installed.
    """

    collector: CollectorOptions
    dcgm_counters: str
    devices: Devices
    runs: RunsLocation | None
    queues: bool


class RunsExporter(Construct):
    """The exporter of the runs of a cluster. `pods` are what a collector scrapes."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cluster: KubernetesCluster,
        location: RunsLocation,
        images: ExporterImages,
        after: Sequence[Construct],
    ) -> None:
        super().__init__(scope, construct_id)
        architecture = instance(location.system_type).architecture
        # After the namespace of the jobs: at the end it goes before the claim, which waits for pods that use it.
        self.objects = Objects(
            self,
            "Objects",
            cluster=cluster,
            release=runs.NAME,
            documents=runs.runs_exporter(
                location.namespace, image=images.uri(architecture), claim=location.claim
            ),
            after=after,
        )
        self.pods = ExporterPods(
            JOBS["runs"],
            _NAME,
            runs.NAME,
            RUNS_EXPORTER_PORT,
            namespace=location.namespace,
            own_node_label=True,
        )


class ClusterMetrics(Construct):
    """The exporters of a cluster's nodes, devices, queues, state and runs, and the collector that scrapes them.

    `images` are those of the deployment's own exporters, which nodes must be allowed to pull.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cluster: KubernetesCluster,
        pools: Sequence[Pool],
        options: MetricsOptions,
        after: Sequence[Construct],
    ) -> None:
        super().__init__(scope, construct_id)
        self._cluster, self._pools, self._options = cluster, list(pools), options
        self._after = list(after)
        self.images = ExporterImages(self, "Images")
        self._exporters = [
            ExporterPods(JOBS["node-exporter"], _NAME, NODE_EXPORTER, NODE_EXPORTER_PORT),
            ExporterPods(
                JOBS["kube-state-metrics"],
                _NAME,
                STATE_METRICS,
                KUBE_STATE_METRICS_PORT,
                own_node_label=True,
                # It has hundreds, some a series per pod and label; these are what dashboards and alerts read.
                keeps=[metric.name for metric in of_exporter(STATE_METRICS)],
            ),
        ]
        cluster.add_on(NODE_EXPORTER)
        cluster.add_on(STATE_METRICS)
        devices = [*self._counters(), *self._efa(), *self._neuron()]
        objects = self._objects(devices)
        self._dcgm(objects)
        if options.queues:
            self._exporters.append(_kueue())
        if options.runs:
            exporter = RunsExporter(
                self, "Runs", cluster=cluster, location=options.runs, images=self.images, after=self._after
            )
            self._exporters.append(exporter.pods)
        self.collector = Collector(
            self, "Collector", cluster=cluster, exporters=self._exporters, options=options.collector
        )

    def _counters(self) -> list[Document]:
        """Return what dcgm-exporter is to export, where the exporter is: ours, or that of NVIDIA's operator."""
        if self._options.devices.gpu == "gpu-operator":
            # The namespace is there: the operator was installed before.
            place, key = GPU_OPERATOR_CHART.namespace, GPU_COUNTERS_FILE
        elif self._gpu_types():
            place, key = NAMESPACE, "metrics"
        else:
            return []
        return [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": GPU_COUNTERS, "namespace": place},
                "data": {key: self._options.dcgm_counters},
            }
        ]

    def _efa(self) -> list[Document]:
        """Return the EFA exporter; its image is of one architecture, that of the first pool with EFA."""
        with_efa = [pool for pool in self._pools if instance(pool.instance_type).supports_efa]
        if not with_efa:
            return []
        architecture = instance(with_efa[0].instance_type).architecture
        alike = [pool for pool in with_efa if instance(pool.instance_type).architecture == architecture]
        self._exporters.append(ExporterPods(JOBS["efa"], _NAME, EFA_EXPORTER, EFA_EXPORTER_PORT))
        return [*efa_exporter(alike, image=self.images.uri(architecture))]

    def _neuron(self) -> list[Document]:
        if self._options.devices.neuron == "none":
            return []
        made = neuron.neuron_monitor(self._pools)
        if made:
            self._exporters.append(
                ExporterPods(JOBS["neuron-monitor"], _NAME, neuron.NAME, NEURON_MONITOR_PORT)
            )
        return [*made]

    def _objects(self, documents: Sequence[Document]) -> Objects | None:
        """Install objects in the namespace of the exporters, as one release, because two cannot share it."""
        if not documents:
            return None
        space: Document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        return Objects(
            self,
            "Objects",
            cluster=self._cluster,
            release=NAMESPACE,
            documents=[space, *documents],
            after=self._after,
        )

    def _dcgm(self, objects: Objects | None) -> None:
        types = self._gpu_types()
        if not types and self._options.devices.gpu != "gpu-operator":
            return
        if not types:
            # The operator's own, by the label that it gives it (NVIDIA/gpu-operator, assets/state-dcgm-exporter).
            self._exporters.append(
                ExporterPods(JOBS["dcgm"], "app", "nvidia-dcgm-exporter", DCGM_EXPORTER_PORT)
            )
            return
        chart = DCGM_EXPORTER_CHART
        self._cluster.releases.release(
            self,
            "DcgmExporter",
            RepositoryChart(chart.repository, chart.name, str(chart.version)),
            release=chart.release,
            namespace=chart.namespace,
            values=dcgm_values(types),
            after=[objects] if objects else self._after,
        )
        self._exporters.append(ExporterPods(JOBS["dcgm"], _NAME, chart.name, DCGM_EXPORTER_PORT))

    def _gpu_types(self) -> list[str]:
        """Return the types with GPUs whose exporter is ours to install."""
        if self._options.devices.gpu != "device-plugin":
            return []
        return sorted({pool.instance_type for pool in self._pools if instance(pool.instance_type).has_gpus})


def _kueue() -> ExporterPods:
    """Return Kueue's controller, which serves its metrics over TLS, to whom may read them (kueue 0.19).

    Only in its namespace: a pod with its labels elsewhere would get the collector's token.
    """
    return ExporterPods(
        JOBS["kueue"],
        _NAME,
        KUEUE_CHART.name,
        KUEUE_METRICS_PORT,
        namespace=KUEUE_CHART.namespace,
        own_node_label=True,
        authorized=True,
    )


def dcgm_values(types: Sequence[str]) -> dict[str, Any]:
    """Return the values of dcgm-exporter's chart: a pod on each node of these types, whatever its taints are."""
    return {
        # The definition of service monitors is of an operator that is not here.
        "serviceMonitor": {"enabled": False},
        "affinity": on_types(types),
        "tolerations": device_tolerations(),
        "extraConfigMapVolumes": [
            {
                "name": "exporter-metrics-volume",
                "configMap": {
                    "name": GPU_COUNTERS,
                    "items": [{"key": "metrics", "path": "default-counters.csv"}],
                },
            }
        ],
    }
