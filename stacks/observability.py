"""The observability stack."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from catalog.observability import SEVERITIES, Severity, metrics_parameter
from catalog.pool import CapacityBlock, Reservation
from observability.alerts import CAPACITY_PAGE, RUNBOOKS, rule_groups
from observability.dashboards import dashboards
from observability.dcgm_counters import counters_csv
from settings.deployment import Settings
from settings.sections.observability import AlertRouteSettings, GrafanaSettings, ObservabilitySettings
from stacks.network import NetworkStack
from stacks.storage import StorageStack
from trainforge.construct_ids import pascal
from trainforge.notifications import Notifications, notification_key
from trainforge.observability.capacity_ends import CapacityEnds, EndThresholds, NamedCapacity
from trainforge.observability.capacity_events import notify_of_reservations
from trainforge.observability.dashboard_files import DashboardFiles
from trainforge.observability.exporter_files import ExporterFiles
from trainforge.observability.storage_space import LustreSpaceAlarm, OpenZfsSpaceAlarm
from trainforge.observability.workspace import MetricsWorkspace, WorkspaceOptions, allow_alert_manager


class ObservabilityStack(cdk.Stack):
    """The metrics of a deployment's clusters, alerts on them, and Grafana.

    `workspace` is where clusters send samples: `grant_write` lets a role do so. Nodes read its address from an SSM
    parameter. `routes` has the topic of each severity, `exporters` the files of the exporters that nodes copy.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        network: NetworkStack,
        storage: StorageStack,
        env: cdk.Environment,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            env=env,
            stack_name=f"{settings.name}-observability",
            description=f"trainforge {settings.name}: metrics and alerts",
        )
        assert settings.observability
        self._settings, self._network, self._storage = settings, network, storage
        durable = settings.retention == "durable"
        self._removal = cdk.RemovalPolicy.RETAIN if durable else cdk.RemovalPolicy.DESTROY
        section = settings.observability
        self.routes = self._routes(section)
        self.workspace = self._workspace(section)
        self.exporters = ExporterFiles(
            self, "Exporters", bucket=storage.scripts_bucket, dcgm_counters=counters_csv()
        )
        self._parameter()
        self._notify(section)
        if section.grafana:
            self._grafana(section.grafana, section.scrape_seconds)
        for output_id, value, description in (
            ("MetricsWorkspace", self.workspace.workspace_id, "Workspace of Amazon Managed Prometheus"),
            ("MetricsUrl", self.workspace.url, "Address of the workspace, for data sources of Grafana"),
            *(
                (f"{pascal(severity)}Topic", route.topic.topic_arn, f"Topic of alerts of severity {severity}")
                for severity, route in self.routes.items()
            ),
        ):
            cdk.CfnOutput(self, output_id, value=value, description=description)

    def grant_write(self, nodes: iam.Role | iam.ManagedPolicy) -> None:
        """Let nodes send samples to the workspace, and read its address and where the exporters are."""
        add = nodes.add_to_policy if isinstance(nodes, iam.Role) else nodes.add_statements
        add(self.workspace.write_statement())
        add(
            iam.PolicyStatement(
                actions=["ssm:GetParameter"],
                # By name, as nodes know it before it is there.
                resources=[
                    self.format_arn(
                        service="ssm",
                        resource="parameter",
                        resource_name=metrics_parameter(self._settings.name).removeprefix("/"),
                    )
                ],
            )
        )

    def _routes(self, section: ObservabilitySettings) -> dict[Severity, Notifications]:
        emails = self._settings.notifications.emails
        given = {severity: section.alerts.get(severity) for severity in SEVERITIES}
        routes = {
            severity: route if route and route.has_recipients else AlertRouteSettings(emails=emails)
            for severity, route in given.items()
        }
        key = None
        if not all(route.topic_arn for route in routes.values()):
            # One for all topics: a key costs as much as everything else of a topic.
            key = notification_key(self, "TopicKey")
            allow_alert_manager(key)
        return {
            severity: Notifications(
                self,
                f"{pascal(severity)}Alerts",
                emails=route.emails,
                key=key,
                topic_arn=route.topic_arn,
            )
            for severity, route in routes.items()
        }

    def _workspace(self, section: ObservabilitySettings) -> MetricsWorkspace:
        return MetricsWorkspace(
            self,
            "Metrics",
            deployment=self._settings.name,
            topics={severity: route.topic for severity, route in self.routes.items()},
            rules=rule_groups(section.runbooks_url) if section.rules else None,
            options=None
            if section.workspace_id
            else WorkspaceOptions(section.retention_days, section.kms_key_arn),
            existing_id=section.workspace_id,
            removal_policy=self._removal,
        )

    def _parameter(self) -> None:
        """Tell nodes where to send samples, and where the exporters are.

        By a parameter, because some of their files are packed before it is known.
        """
        parameter = ssm.StringParameter(
            self,
            "Address",
            parameter_name=metrics_parameter(self._settings.name),
            string_value=self.to_json_string(
                {"remote_write_url": self.workspace.remote_write_url, "exporters": self.exporters.url}
            ),
            description="Address that nodes send metrics to, and the folder of the exporters",
        )
        parameter.node.add_dependency(self.exporters)

    def _notify(self, section: ObservabilitySettings) -> None:
        settings = self._settings
        lustre, mount = settings.storage.lustre, self._storage.lustre_mount
        # The size of one that exists already is not known here.
        if lustre and mount and not lustre.existing:
            LustreSpaceAlarm(
                self,
                "LustreSpace",
                file_system_id=mount.file_system_id,
                capacity_gib=lustre.capacity_gib,
                free_percent=section.storage_free_percent,
                notifications=self.routes["critical"],
            )
        if self._storage.openzfs_mount:
            OpenZfsSpaceAlarm(
                self,
                "OpenZfsSpace",
                file_system_id=self._storage.openzfs_mount.file_system_id,
                free_percent=section.storage_free_percent,
                notifications=self.routes["critical"],
            )
        reservations = sorted(
            {
                pool.capacity.reservation_id
                for pool in settings.pools.values()
                if isinstance(pool.capacity, CapacityBlock | Reservation)
            }
        )
        if reservations:
            notify_of_reservations(reservations, ending=self.routes["critical"], ended=self.routes["warning"])
        capacity = self._capacity()
        if capacity:
            CapacityEnds(
                self,
                "CapacityEnds",
                deployment=settings.name,
                capacity=capacity,
                thresholds=EndThresholds(
                    section.capacity_end.warning_hours, section.capacity_end.critical_hours
                ),
                warning=self.routes["warning"],
                critical=self.routes["critical"],
                runbook=f"{(section.runbooks_url or RUNBOOKS).rstrip('/')}/{CAPACITY_PAGE}.md",
            )

    def _capacity(self) -> list[NamedCapacity]:
        """Return what reserves nodes of pools, each once, with the pools that name it."""
        pools: dict[str, list[str]] = {}
        for pool in self._settings.pools.values():
            if pool.reserved_by:
                pools.setdefault(pool.reserved_by, []).append(pool.name)
        return [NamedCapacity(name, tuple(names)) for name, names in pools.items()]

    def _grafana(self, section: GrafanaSettings, seconds: int) -> None:
        files = DashboardFiles(
            self, "Dashboards", bucket=self._storage.scripts_bucket, dashboards=dashboards()
        )
        if section.kind == "managed":
            from trainforge.observability.managed_grafana import ManagedGrafana

            managed = ManagedGrafana(
                self,
                "Grafana",
                deployment=self._settings.name,
                workspace=self.workspace,
                dashboards=files,
                scrape_seconds=seconds,
            )
            cdk.CfnOutput(
                self, "GrafanaUrl", value=managed.url, description="Grafana, through IAM Identity Center"
            )
            return
        from trainforge.observability.grafana_instance import GrafanaInstance, GrafanaMachine

        instance = GrafanaInstance(
            self,
            "Grafana",
            deployment=self._settings.name,
            vpc=self._network.vpc,
            subnet=self._network.private_subnet(self._settings.availability_zones[0]),
            machine=GrafanaMachine(section.instance_type, section.volume_gib),
            workspace=self.workspace,
            dashboards=files,
            scrape_seconds=seconds,
        )
        cdk.CfnOutput(
            self,
            "GrafanaSecret",
            value=instance.secret.secret_arn,
            description="Secret with the password of Grafana's user admin",
        )
