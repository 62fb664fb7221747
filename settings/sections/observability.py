"""Settings of metrics and alerts of a whole deployment."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from catalog.hyperpod_eks import DEFAULT_METRIC_DAYS, MAX_METRIC_DAYS
from catalog.instances import DEFAULT_LOGIN_TYPE
from catalog.observability import Severity
from settings.sections.model import Model


class AlertRouteSettings(Model):
    """The recipients of the alerts of one severity."""

    emails: list[str] = []
    """Addresses that are subscribed to the severity's topic; each confirms by mail."""
    topic_arn: str | None = None
    """ARN of an existing SNS topic to send to; absent: a topic of the stack's own."""

    @property
    def has_recipients(self) -> bool:
        """True if it names anybody; otherwise alerts go where those of an absent severity go."""
        return bool(self.emails or self.topic_arn)


class GrafanaSettings(Model):
    """A Grafana with the deployment's dashboards."""

    kind: Literal["managed", "instance"] = "managed"
    """`managed`: Amazon Managed Grafana, which needs IAM Identity Center; `instance`: Grafana on a private instance."""
    instance_type: str = DEFAULT_LOGIN_TYPE
    """EC2 instance type of the private instance, of the x86_64 architecture."""
    volume_gib: int = Field(default=20, ge=10, le=1024)
    """Size in GiB of its encrypted volume."""


class CapacityEndSettings(Model):
    """Times before the end of a reservation, Capacity Block or training plan at which people are notified.

    Each reservation of a pool costs a custom metric and two alarms of CloudWatch.
    """

    warning_hours: int = Field(default=48, ge=2, le=2160)
    """Hours before the end at which an alert of severity `warning` is sent."""
    critical_hours: int = Field(default=12, ge=1, le=2160)
    """Hours before the end at which an alert of severity `critical` is sent; fewer than `warning_hours`."""


class ObservabilitySettings(Model):
    """Metrics of every cluster in one workspace of Amazon Managed Prometheus, alert rules, and Grafana.

    Amazon Managed Prometheus charges by the sample, and Amazon Managed Grafana by the user.
    """

    workspace_id: str | None = None
    """Id of an existing workspace, `ws-...`; absent: a new one. The alert manager of an existing one is not changed."""
    kms_key_arn: str | None = None
    """ARN of a KMS key that encrypts a new workspace; absent: a key that AWS owns."""
    retention_days: int = Field(default=DEFAULT_METRIC_DAYS, ge=1, le=MAX_METRIC_DAYS)
    """Days that a new workspace keeps metrics."""
    scrape_seconds: int = Field(default=30, ge=15, le=60)
    """Seconds between two samples of a series; half as many seconds cost twice as much. Rates of alerts are over five
    minutes, and need several samples in them. With a Kubernetes cluster 30 at least."""
    max_series_per_exporter: int = Field(default=10000, ge=500, le=100000)
    """Series that are taken of one exporter of a node; one with more is refused as a whole, and an alert says so.
    Exporters of a whole cluster bound the labels of jobs themselves."""
    storage_free_percent: int = Field(default=10, ge=1, le=50)
    """Free share of the Lustre and of the OpenZFS file system below which people are notified."""
    capacity_end: CapacityEndSettings = CapacityEndSettings()
    """Notice of the end of the reserved capacity that pools name."""
    alerts: dict[Severity, AlertRouteSettings] = {}
    """Recipients by severity; a severity that is absent or names nobody goes to `notifications.emails`."""
    rules: bool = True
    """This deployment's alert rules are in the workspace, or not. Of deployments that share one, one has them: rules
    read the series of all clusters there, and would be evaluated, and paid, twice."""
    runbooks_url: str | None = Field(default=None, pattern=r"^https?://\S+$")
    """Address of the folder docs/runbooks of your copy of this repository, as a browser opens it: each alert links to
    its page there. Absent: an alert names the page's path in the repository."""
    grafana: GrafanaSettings | None = None
    """Grafana with the deployment's dashboards; absent: none."""
