"""Exporters of an EKS cluster, and the collector of AWS that scrapes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_aps as aps
from constructs import Construct

from catalog.charts import DCGM_EXPORTER_CHART
from catalog.devices import Devices
from catalog.instances import instance
from catalog.kubernetes import device_tolerations
from catalog.pool import Pool
from catalog.ports import DCGM_EXPORTER_PORT, EFA_EXPORTER_PORT, NODE_EXPORTER_PORT
from trainforge.eks.cluster import KubernetesCluster
from trainforge.eks.devices import on_types
from trainforge.eks.efa_exporter import NAME as EFA_EXPORTER
from trainforge.eks.efa_exporter import efa_exporter
from trainforge.eks.objects import Document, Objects
from trainforge.eks.scrape_configuration import ExporterPods, scrape_configuration
from trainforge.exporters import image_context
from trainforge.helm import RepositoryChart
from trainforge.workload_image import WorkloadImage

NODE_EXPORTER, STATE_METRICS = "prometheus-node-exporter", "kube-state-metrics"
"""Add-ons of EKS with the exporters of nodes and of Kubernetes' state (EKS User Guide, "Community add-ons")."""

_STATE_METRICS_PORT = 8080
"""kube-state-metrics' port (its README, `--port`)."""

_NAME = "app.kubernetes.io/name"
_COUNTERS = "dcgm-counters"


@dataclass(frozen=True, slots=True)
class MetricsOptions:
    """Options of a cluster's metrics: the workspace's ARN, labels, interval, and the bound on series of one exporter.

    `dcgm_counters` is the file that dcgm-exporter reads. `devices` says whether NVIDIA's operator, which brings an
    exporter of its own, is installed.
    """

    workspace_arn: str
    cluster_kind: str
    scrape_seconds: int
    series_limit: int
    dcgm_counters: str
    devices: Devices


class ClusterMetrics(Construct):
    """The exporters of a cluster's nodes, devices and state, and a collector that AWS runs beside it.

    A collector of AWS and not an agent on the nodes: it needs no pod, no image and no role of ours, and grows with the
    cluster. It enters the API server by an access entry that the service makes, and reaches pods through network
    interfaces in the cluster's subnets, which are in two zones at least. `image` is that of the deployment's own
    exporters, which nodes must be allowed to pull; None without EFA.
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
        self.image: WorkloadImage | None = None
        objects = self._objects()
        cluster.add_on(NODE_EXPORTER)
        cluster.add_on(STATE_METRICS)
        exporters = [
            ExporterPods("node", _NAME, NODE_EXPORTER, NODE_EXPORTER_PORT),
            ExporterPods(STATE_METRICS, _NAME, STATE_METRICS, _STATE_METRICS_PORT, speaks_of_others=True),
            *self._dcgm(objects),
        ]
        if self.image:
            exporters.append(ExporterPods("efa", _NAME, EFA_EXPORTER, EFA_EXPORTER_PORT))
        self.scraper = aps.CfnScraper(
            self,
            "Scraper",
            alias=cluster.cluster_name,
            scrape_configuration=aps.CfnScraper.ScrapeConfigurationProperty(
                configuration_blob=cdk.Fn.base64(
                    scrape_configuration(
                        exporters,
                        cluster=cluster.cluster_name,
                        cluster_kind=options.cluster_kind,
                        scrape_seconds=options.scrape_seconds,
                        series_limit=options.series_limit,
                    )
                )
            ),
            source=aps.CfnScraper.SourceProperty(
                eks_configuration=aps.CfnScraper.EksConfigurationProperty(
                    cluster_arn=cluster.cluster_arn,
                    # Of the nodes' own groups: each lets its members reach each other, and API server and pods are in.
                    security_group_ids=list(cluster.node_security_group_ids),
                    subnet_ids=[subnet.subnet_id for subnet in cluster.subnets],
                )
            ),
            destination=aps.CfnScraper.DestinationProperty(
                amp_configuration=aps.CfnScraper.AmpConfigurationProperty(workspace_arn=options.workspace_arn)
            ),
        )

    def _dcgm(self, objects: Objects | None) -> list[ExporterPods]:
        types = self._gpu_types()
        if not types and self._options.devices.gpu != "gpu-operator":
            return []
        if not types:
            # The operator's own, by the label that it gives it (NVIDIA/gpu-operator, assets/state-dcgm-exporter).
            return [ExporterPods("dcgm", "app", "nvidia-dcgm-exporter", DCGM_EXPORTER_PORT)]
        chart = DCGM_EXPORTER_CHART
        self._cluster.releases.release(
            self,
            "DcgmExporter",
            RepositoryChart(chart.repository, chart.name, str(chart.version)),
            release=chart.release,
            namespace=chart.namespace,
            values={
                # The definition of service monitors is of an operator that is not here.
                "serviceMonitor": {"enabled": False},
                "affinity": on_types(types),
                "tolerations": device_tolerations(),
                "extraConfigMapVolumes": [
                    {
                        "name": "exporter-metrics-volume",
                        "configMap": {
                            "name": _COUNTERS,
                            "items": [{"key": "metrics", "path": "default-counters.csv"}],
                        },
                    }
                ],
            },
            after=[objects] if objects else self._after,
        )
        return [ExporterPods("dcgm", _NAME, chart.name, DCGM_EXPORTER_PORT)]

    def _objects(self) -> Objects | None:
        """Install the objects of ours: a namespace, the counters of DCGM, and the exporter of EFA devices.

        One release, because two cannot share the namespace. The exporter's image is of one architecture, that of the
        first pool with EFA.
        """
        documents: list[Document] = []
        if self._gpu_types():
            documents += [
                {
                    "apiVersion": "v1",
                    "kind": "Namespace",
                    "metadata": {"name": DCGM_EXPORTER_CHART.namespace},
                },
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": _COUNTERS, "namespace": DCGM_EXPORTER_CHART.namespace},
                    "data": {"metrics": self._options.dcgm_counters},
                },
            ]
        with_efa = [pool for pool in self._pools if instance(pool.instance_type).supports_efa]
        if with_efa:
            architecture = instance(with_efa[0].instance_type).architecture
            alike = [pool for pool in with_efa if instance(pool.instance_type).architecture == architecture]
            self.image = WorkloadImage(
                self, "ExportersImage", context=image_context(), architecture=architecture
            )
            made = efa_exporter(alike, image=self.image.image_uri)
            documents += [one for one in made if one["kind"] != "Namespace" or not documents]
        if not documents:
            return None
        return Objects(
            self,
            "Objects",
            cluster=self._cluster,
            release=DCGM_EXPORTER_CHART.namespace,
            documents=documents,
            after=self._after,
        )

    def _gpu_types(self) -> list[str]:
        """Return the types with GPUs whose exporter is ours to install."""
        if self._options.devices.gpu != "device-plugin":
            return []
        return sorted({pool.instance_type for pool in self._pools if instance(pool.instance_type).has_gpus})
