"""Workspaces of Amazon Managed Prometheus with their rules and alert managers, and of Amazon Managed Grafana."""

from __future__ import annotations

import base64
import uuid
from typing import Any

import yaml

from emulator.resources.resource import Properties, RecordedResource, Resource, resource


@resource("AWS::APS::Workspace")
class Workspace(Resource):
    """A workspace, without samples: how long it keeps them is checked and not acted on. Ref is its ARN.

    Its alert manager is read as the service reads it, and sends nothing.
    """

    def create(self) -> None:
        """Create it."""
        self._check_alert_manager()
        tags = {tag["Key"]: tag["Value"] for tag in self.tags()}
        made = self.aws("amp").create_workspace(**self._alias(), tags=tags)
        self.physical_id = made["arn"]
        self._id = made["workspaceId"]
        found = self.aws("amp").describe_workspace(workspaceId=self._id)["workspace"]
        self.attributes = {
            "Arn": found["arn"],
            "WorkspaceId": self._id,
            "PrometheusEndpoint": found["prometheusEndpoint"],
        }

    def _check_alert_manager(self) -> None:
        """Fail unless the definition has a configuration whose routes end in its receivers, with topics in them."""
        text = self.properties.get("AlertManagerDefinition")
        if text is None:
            return
        try:
            inner = yaml.safe_load(yaml.safe_load(text)["alertmanager_config"])
            receivers = {one["name"]: one["sns_configs"] for one in inner["receivers"]}
            routes = [inner["route"], *inner["route"].get("routes", [])]
        except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
            self.fail(f"the alert manager definition is not one: {error!r}")
        for route in routes:
            if route["receiver"] not in receivers:
                self.fail(f"undefined receiver '{route['receiver']}' used in route")
        topics = [config["topic_arn"] for configs in receivers.values() for config in configs]
        wrong = [topic for topic in topics if not topic.startswith("arn:aws:sns:")]
        if wrong:
            self.fail(f"the alert manager definition sends to '{wrong[0]}', which is not a topic")

    def _alias(self) -> dict[str, str]:
        return {"alias": self.properties["Alias"]} if "Alias" in self.properties else {}

    def update(self, previous: Properties) -> None:
        """Change the alias, and for how long samples would be kept."""
        if set(self.changed(previous)) - {
            "Alias",
            "AlertManagerDefinition",
            "WorkspaceConfiguration",
            "Tags",
        }:
            super().update(previous)
        self._check_alert_manager()
        self.aws("amp").update_workspace_alias(workspaceId=self._id, **self._alias())

    def delete(self) -> None:
        """Delete it."""
        self.aws("amp").delete_workspace(workspaceId=self._id)


@resource("AWS::APS::RuleGroupsNamespace")
class RuleGroupsNamespace(Resource):
    """A file of rules, which is kept and never evaluated. Ref is its ARN."""

    def create(self) -> None:
        """Create it in its workspace."""
        made = self.aws("amp").create_rule_groups_namespace(**self._place(), data=self._data())
        self.physical_id = made["arn"]
        self.attributes = {"Arn": made["arn"]}

    def _place(self) -> dict[str, str]:
        workspace = str(self.properties["Workspace"]).rpartition("/")[2]
        return {"workspaceId": workspace, "name": self.properties["Name"]}

    def _data(self) -> bytes:
        """Return the rules.

        Raises:
            ResourceFailure: they are not YAML with groups.
        """
        text = str(self.properties["Data"])
        try:
            groups = yaml.safe_load(text)["groups"]
        except (yaml.YAMLError, KeyError, TypeError) as error:
            self.fail(f"the rules are not groups in YAML: {error!r}")
        if not groups:
            self.fail("the rules have no group")
        return text.encode()

    def update(self, previous: Properties) -> None:
        """Put the new rules in place of the old ones."""
        if set(self.changed(previous)) - {"Data", "Tags"}:
            super().update(previous)
        self.aws("amp").put_rule_groups_namespace(**self._place(), data=self._data())

    def delete(self) -> None:
        """Delete it."""
        self.aws("amp").delete_rule_groups_namespace(**self._place())


@resource("AWS::APS::Scraper")
class Scraper(RecordedResource):
    """A collector of AWS, which is checked and collects nothing. Ref is its ARN."""

    def generated(self) -> dict[str, Any]:
        """Return its id and ARN; its configuration must be one of Prometheus."""
        blob = self.properties["ScrapeConfiguration"]["ConfigurationBlob"]
        try:
            yaml.safe_load(base64.b64decode(blob))["scrape_configs"]
        except (ValueError, yaml.YAMLError, KeyError, TypeError) as error:
            self.fail(f"the scrape configuration is none of Prometheus: {error!r}")
        subnets = self.properties["Source"].get("EksConfiguration", {}).get("SubnetIds", [])
        if len(subnets) < 2:
            self.fail("a scraper has subnets in two Availability Zones at least")
        if self.attributes:
            return self.attributes
        identifier = f"s-{uuid.uuid5(uuid.NAMESPACE_DNS, self.physical_id)}"
        self.physical_id = self.arn("aps", f"scraper/{identifier}")
        return {
            "ScraperId": identifier,
            "Arn": self.physical_id,
            "RoleArn": f"arn:aws:iam::{self.context.account}:role/scraper",
        }


_GRAFANA = {
    "AccountAccessType": "accountAccessType",
    "AuthenticationProviders": "authenticationProviders",
    "PermissionType": "permissionType",
    "Name": "workspaceName",
    "RoleArn": "workspaceRoleArn",
    "DataSources": "workspaceDataSources",
}


@resource("AWS::Grafana::Workspace")
class GrafanaWorkspace(Resource):
    """A workspace of Amazon Managed Grafana. Ref is its id."""

    def _given(self) -> dict[str, Any]:
        return {key: self.properties[name] for name, key in _GRAFANA.items() if name in self.properties}

    def create(self) -> None:
        """Create it."""
        made = self.aws("grafana").create_workspace(
            **self._given(), tags={tag["Key"]: tag["Value"] for tag in self.tags()}
        )["workspace"]
        self.physical_id = made["id"]
        self.attributes = {
            "Id": made["id"],
            "Endpoint": made["endpoint"],
            "GrafanaVersion": made["grafanaVersion"],
            "Status": made["status"],
        }

    def update(self, previous: Properties) -> None:
        """Change role, name and data sources."""
        if set(self.changed(previous)) - {"Name", "RoleArn", "DataSources", "Tags"}:
            super().update(previous)
        given = {key: value for key, value in self._given().items() if key.startswith("workspace")}
        self.aws("grafana").update_workspace(workspaceId=self.physical_id, **given)

    def delete(self) -> None:
        """Delete it with what its Grafana holds."""
        self.aws("grafana").delete_workspace(workspaceId=self.physical_id)
