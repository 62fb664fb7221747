"""Software bills of materials in the form CycloneDX 1.6: of a file system by its files, of an image by its pins.

The text depends on the content alone: it has no time, and its serial number is made of the components. The form is
written here, because a program that writes these few fields needs no library, and a node has none; tests check it by
cyclonedx-python-lib.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from .inventory import Inventory, Item


@dataclass(frozen=True)
class Component:
    """A component: its type by CycloneDX, its name, its version, its package URL, and properties of ours."""

    type: str
    name: str
    version: str
    purl: str
    properties: Mapping[str, str] = field(default_factory=dict)


def of_inventory(
    found: Inventory, container: str = "", *, machine: str = "", tool_version: str = ""
) -> dict[str, Any]:
    """Return the bill of a file system by what is installed there: of a container's image, or of a machine's root.

    A machine without the name `machine` is named by its system, so that the same files have the same bill wherever they
    lie.
    """
    distro = f"{found.distribution}-{found.release}" if found.release else found.distribution
    components = []
    if found.distribution:
        system = purl("generic", found.distribution, found.release)
        components.append(
            Component("operating-system", found.distribution, found.release or "unknown", system)
        )
    for item in found.items:
        properties = {"trainforge:place": item.place} if item.place else {}
        if item.kind in ("deb", "rpm"):
            url = _package_purl(item, found.distribution, distro)
        else:
            url = purl(item.kind, item.name, item.version)
        components.append(Component("library", item.name, item.version, url, properties))
    if container:
        return bill("container", container, components, tool_version=tool_version)
    return bill("operating-system", machine or distro or "unknown", components, tool_version=tool_version)


def _package_purl(item: Item, distribution: str, distro: str) -> str:
    """Return the package URL of a distribution's package: dpkg's epoch is in the version, rpm's is a qualifier.

    Source: package-url/purl-spec, types deb and rpm.
    """
    version = f"{item.epoch}:{item.version}" if item.epoch and item.kind == "deb" else item.version
    qualifiers = {
        "arch": item.architecture,
        "distro": distro,
        "epoch": item.epoch if item.kind == "rpm" else "",
    }
    text = "&".join(f"{key}={quote(value)}" for key, value in qualifiers.items() if value)
    return purl(item.kind, item.name, version, distribution) + (f"?{text}" if text else "")


def bill(
    kind: str,
    name: str,
    components: Iterable[Component],
    properties: Mapping[str, str] | None = None,
    *,
    tool_version: str = "",
) -> dict[str, Any]:
    """Return a bill of components for a subject of a type by CycloneDX; equal package URLs are one component.

    `tool_version` is that of trainforge, where it is known: a node has no package of it.
    """
    tool = {"type": "application", "name": "trainforge"} | ({"version": tool_version} if tool_version else {})
    listed = [
        {
            "type": one.type,
            "bom-ref": one.purl,
            "name": one.name,
            "version": one.version,
            "purl": one.purl,
        }
        | _properties(one.properties)
        for one in {one.purl: one for one in reversed(list(components))}.values()
    ]
    listed.reverse()
    content = json.dumps([name, listed])
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, content)}",
        "version": 1,
        "metadata": {
            "tools": {"components": [tool]},
            "component": {"type": kind, "bom-ref": "subject", "name": name} | _properties(properties or {}),
        },
        "components": listed,
        "dependencies": [{"ref": "subject", "dependsOn": [one["bom-ref"] for one in listed]}],
    }


def _properties(values: Mapping[str, str]) -> dict[str, Any]:
    """Return the member for properties of ours; nothing without one, as the form asks."""
    if not values:
        return {}
    return {"properties": [{"name": key, "value": value} for key, value in values.items()]}


def purl(kind: str, name: str, version: str, namespace: str = "") -> str:
    """Return the package URL of a package; names of PyPI have lower case and hyphens, ours too."""
    written = name.lower()
    if kind == "pypi":
        written = re.sub(r"[-_.]+", "-", written)
    elif kind == "generic":
        written = re.sub(r"[^a-z0-9.]+", "-", written)
    place = f"{quote(namespace)}/" if namespace else ""
    return f"pkg:{kind}/{place}{quote(written)}" + (f"@{quote(version)}" if version else "")
