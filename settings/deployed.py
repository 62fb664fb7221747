"""The deployed state to compare a configuration with, and the reader of its file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.finding import Finding, Severity
from settings.deployment import Settings
from settings.parser.document import load
from settings.parser.parsed_settings import parse

# In the URL of the provider's template.
_VERSION = re.compile(r"/parallelcluster/(\d+\.\d+\.\d+)/templates/")
_RESOURCE = "Custom::PclusterCluster"


class Unknown:
    """A value that is known at deployment only: a reference in a template."""


UNKNOWN = Unknown()


@dataclass(frozen=True, slots=True)
class Deployed:
    """The deployed state: the settings at the time of deployment, or the configuration that ParallelCluster has.

    `version` is that of the ParallelCluster that made the cluster, empty where it is not known.
    """

    settings: Settings | None = None
    cluster: Mapping[str, Any] | None = None
    version: str = ""

    def at(self, keys: tuple[str, ...]) -> object:
        """Return a value of the cluster's configuration: None where there is none, UNKNOWN for a reference.

        Lists are looked into by the value of `Name`.
        """
        value: Any = self.cluster
        for key in keys:
            if isinstance(value, list):
                value = next(
                    (item for item in value if isinstance(item, Mapping) and item.get("Name") == key), None
                )
            elif _is_reference(value):
                return UNKNOWN
            else:
                value = value.get(key) if isinstance(value, Mapping) else None
        return UNKNOWN if _is_reference(value) else value


def _is_reference(value: object) -> bool:
    """Return whether a value of a template is filled in by CloudFormation."""
    return isinstance(value, Mapping) and any(key == "Ref" or key.startswith("Fn::") for key in value)


def read_deployed(path: str | Path) -> tuple[Deployed | None, tuple[Finding, ...]]:
    """Read the deployed state. Never raises: mistakes in the file are findings, and then no state is returned.

    The file is a configuration of this project as it was deployed, the configuration of a cluster as
    `pcluster describe-cluster` links to it, or the template of its stack as `aws cloudformation get-template` prints
    it.
    """
    document = load(path)
    data = document.data
    if data is None or document.findings:
        return None, document.findings
    if "HeadNode" in data:
        return Deployed(cluster=data), ()
    if "Resources" in data or "TemplateBody" in data:
        found = next(_clusters(data), None)
        if found is None:
            return None, (_fault(f"the template has no resource of type '{_RESOURCE}'"),)
        versions = _VERSION.findall(json.dumps(data))
        return Deployed(cluster=found, version=versions[0] if versions else ""), ()
    built = parse(document, Settings)
    if built.settings is None or built.pruned or built.findings:
        return None, built.findings or (_fault("it is not a configuration"),)
    return Deployed(settings=built.settings), ()


def _clusters(template: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    body = template.get("TemplateBody", template)
    resources = body.get("Resources") if isinstance(body, Mapping) else None
    for resource in resources.values() if isinstance(resources, Mapping) else ():
        if isinstance(resource, Mapping) and resource.get("Type") == _RESOURCE:
            properties = resource.get("Properties")
            configuration = (
                properties.get("ClusterConfiguration") if isinstance(properties, Mapping) else None
            )
            if isinstance(configuration, Mapping):
                yield configuration


def _fault(message: str) -> Finding:
    hint = "give the configuration as it was deployed, or the output of 'aws cloudformation get-template'"
    return Finding("deployed-unreadable", Severity.ERROR, "", "", message, hint)
