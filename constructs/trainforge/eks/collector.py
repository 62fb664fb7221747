"""The collector of a Kubernetes cluster's metrics, which AWS runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_aps as aps
from constructs import Construct

from trainforge.eks.cluster import KubernetesCluster
from trainforge.eks.scrape_configuration import ExporterPods, scrape_configuration


@dataclass(frozen=True, slots=True)
class CollectorOptions:
    """Options of a collector: the workspace's ARN, labels, interval, and the bound on series of one exporter."""

    workspace_arn: str
    cluster_kind: str
    scrape_seconds: int
    series_limit: int


class Collector(Construct):
    """A collector of AWS that scrapes pods of a cluster and sends their samples to a workspace.

    A collector of AWS and not an agent on the nodes: it needs no pod, no image and no role of ours, and grows with the
    cluster. It enters the API server by an access entry that the service makes, and reaches pods through network
    interfaces in the cluster's subnets, which are in two zones at least.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cluster: KubernetesCluster,
        exporters: Sequence[ExporterPods],
        options: CollectorOptions,
    ) -> None:
        super().__init__(scope, construct_id)
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
