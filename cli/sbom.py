"""Software bills of materials in the form CycloneDX 1.6: of an image by its pins, of a file system by its files.

The text depends on the content alone: it has no time, and its serial number is made of the components. The form is
written here, because a program that writes these few fields needs no library; tests check it by cyclonedx-python-lib.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from software.inventory import Inventory

_PYTHON = frozenset({"torch", "uv", "py-spy", "hyperpod-elastic-agent"})
"""Pins of an image's build that are packages of PyPI."""

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==(?P<version>[^\s;#]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Component:
    """A component: its type by CycloneDX, its name, its version, its package URL, and properties of ours."""

    type: str
    name: str
    version: str
    purl: str
    properties: Mapping[str, str] = field(default_factory=dict)


def of_image(name: str) -> dict[str, Any]:
    """Return the bill of an image by its pins: a base (cuda, cpu, ngc, neuron) or a workload's.

    It has what the build installs or requires at a version: the image that it begins with, parts of the stack, and the
    workload's packages. What those bring with them, only a built image tells.

    Raises:
        ValueError: there is no such base or workload.
    """
    from catalog.versions import PINS
    from workloads import registry
    from workloads.images.image import BASES, Image

    lines: list[str] = []
    if name in BASES:
        image = Image(name)
    elif name in registry.names():
        workload = registry.workload(name)
        if workload.image is None:
            raise ValueError(
                f"workload '{name}' takes the base of its nodes' accelerators; name one of {', '.join(BASES)}"
            )
        image = workload.image
        lines = (registry.folder(workload) / "requirements.txt").read_text(encoding="utf-8").splitlines()
    else:
        raise ValueError(
            f"there is no image '{name}'; images are {', '.join(BASES)} and those of workloads, which "
            "'trainforge render --list' shows"
        )
    sources = {(pin.name, str(pin)): pin.source for pin in PINS}
    components = [_base(image.source, sources)]
    for part, version in image.software.items():
        purl = _purl("pypi" if part in _PYTHON else "generic", part, version)
        components.append(Component("library", part, version, purl, _source(part, version, sources)))
    for found in filter(None, map(_REQUIREMENT.match, lines)):
        package, version = found["name"], found["version"]
        told = _source(package, version, sources)
        components.append(Component("library", package, version, _purl("pypi", package, version), told))
    return bill("container", f"trainforge-{name}", components)


def of_inventory(name: str, found: Inventory) -> dict[str, Any]:
    """Return the bill of a file system by what is installed there."""
    distro = f"{found.distribution}-{found.release}" if found.release else found.distribution
    components = []
    if found.distribution:
        system = _purl("generic", found.distribution, found.release)
        components.append(
            Component("operating-system", found.distribution, found.release or "unknown", system)
        )
    for item in found.items:
        packaged = item.kind in ("deb", "rpm")
        purl = _purl(item.kind, item.name, item.version, found.distribution if packaged else "")
        if packaged and distro:
            purl += f"?distro={quote(distro)}"
        properties = {"trainforge:place": item.place} if item.place else {}
        components.append(Component("library", item.name, item.version, purl, properties))
    return bill("container", name, components)


def bill(kind: str, name: str, components: Iterable[Component]) -> dict[str, Any]:
    """Return a bill of components for a subject of a type by CycloneDX; equal package URLs are one component."""
    from importlib.metadata import version

    listed = [
        {
            "type": one.type,
            "bom-ref": one.purl,
            "name": one.name,
            "version": one.version,
            "purl": one.purl,
        }
        | (
            {"properties": [{"name": key, "value": value} for key, value in one.properties.items()]}
            if one.properties
            else {}
        )
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
            "tools": {
                "components": [
                    {"type": "application", "name": "trainforge", "version": version("trainforge")}
                ]
            },
            "component": {"type": kind, "bom-ref": "subject", "name": name},
        },
        "components": listed,
        "dependencies": [{"ref": "subject", "dependsOn": [one["bom-ref"] for one in listed]}],
    }


def _base(reference: str, sources: Mapping[tuple[str, str], str]) -> Component:
    """Return the image that a build begins with."""
    name, at, digest = reference.partition("@")
    if not at:
        name, _, digest = reference.rpartition(":")
    host, slash, rest = name.partition("/")
    registry = host if slash and ("." in host or ":" in host) else ""
    purl = f"pkg:docker/{rest if registry else name}@{quote(digest)}"
    if registry:
        purl += f"?repository_url={quote(registry)}"
    [source] = [text for (_, version), text in sources.items() if version == reference] or ["unknown"]
    return Component("container", name, digest, purl, {"trainforge:source": source})


def _source(name: str, version: str, sources: Mapping[tuple[str, str], str]) -> dict[str, str]:
    """Return the source of a pin; a pin of one image is called 'NAME of the IMAGE'."""
    for (pin, pinned), text in sources.items():
        if pinned == version and pin.partition(" of ")[0] == name:
            return {"trainforge:source": text}
    return {}


def _purl(kind: str, name: str, version: str, namespace: str = "") -> str:
    """Return the package URL of a package; names of PyPI have lower case and hyphens, ours too."""
    written = name.lower()
    if kind == "pypi":
        written = re.sub(r"[-_.]+", "-", written)
    elif kind == "generic":
        written = re.sub(r"[^a-z0-9.]+", "-", written)
    place = f"{quote(namespace)}/" if namespace else ""
    return f"pkg:{kind}/{place}{quote(written)}" + (f"@{quote(version)}" if version else "")
