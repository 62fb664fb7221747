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
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from software.inventory import Inventory, Item

    from catalog.machine_images import MachineImage
    from catalog.versions import Pin

_PYTHON = frozenset({"torch", "uv", "py-spy", "hyperpod-elastic-agent"})
"""Pins of an image's build that are packages of PyPI."""

_MACHINE_IMAGES = Path(__file__).resolve().parents[1] / "machine_images"
_IF_ABSENT = frozenset({"AWS CLI", "SSM agent", "enroot", "pyxis"})
"""Pins whose roles leave what the parent has; their version here is that of an image whose parent has none."""

_VERSION_OF_LOCK = re.compile(r"\block\.versions\.(\w+)")
_NAME_OF_LOCK = re.compile(r"(?:\block\.(?:downloads|sources)\.|\b(?:download|source_tree)_name: )(\w+)")
_LOOP = re.compile(r"^\s*loop: \[(.*)\]", re.MULTILINE)
"""The words of a role that take a version of the playbooks' lock, and a list of names that a task repeats."""

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
    """Return the bill of an image by its pins: a base (cuda, cpu, ngc, neuron), a workload's or a machine's.

    It has what the build installs or requires at a version: the image that it begins with, parts of the stack, and the
    workload's packages. What those bring with them, only a built image tells. A machine's image has the pins that the
    roles of its playbook take; its parent is named, and is the newest of that name when the image is built.

    Raises:
        ValueError: there is no such image.
    """
    from catalog.machine_images import MACHINE_IMAGES
    from catalog.versions import PINS
    from workloads import registry
    from workloads.images.image import BASES, Image

    machines = {machine.name: machine for machine in MACHINE_IMAGES}
    if name in machines:
        return _of_machine_image(machines[name])
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
            f"there is no image '{name}'; images are {', '.join((*BASES, *machines))} and those of workloads, which "
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


def _of_machine_image(image: MachineImage) -> dict[str, Any]:
    components = []
    for pin in _pins_of_playbook(image.name):
        purl = _purl("generic", pin.name, str(pin))
        properties = {"trainforge:source": pin.source}
        if pin.name in _IF_ABSENT:
            properties["trainforge:condition"] = "only where the parent has none"
        components.append(Component("library", pin.name, str(pin), purl, properties))
    parents = {f"trainforge:parent:{system}": parent.name for system, parent in image.parents.items()}
    return bill("operating-system", f"trainforge-{image.name}", components, parents)


def _pins_of_playbook(name: str) -> list[Pin]:
    """Return the pins that the roles of a machine image's playbook name, by the words with which roles take them."""
    import yaml

    from catalog import versions
    from catalog.machine_images import DOWNLOADS, SOURCES

    named: dict[str, Pin] = {one.name: one.version for one in (*DOWNLOADS, *SOURCES)}
    found: list[Pin] = []
    for play in yaml.safe_load((_MACHINE_IMAGES / f"{name}.yml").read_text(encoding="utf-8")):
        for role in play["roles"]:
            folder = role["role"] if isinstance(role, dict) else role
            paths = sorted((_MACHINE_IMAGES / "roles" / folder).rglob("*.yml"))
            text = "\n".join(path.read_text(encoding="utf-8") for path in paths)
            found += [getattr(versions, word.upper()) for word in _VERSION_OF_LOCK.findall(text)]
            words = [*_NAME_OF_LOCK.findall(text), *re.findall(r"\w+", " ".join(_LOOP.findall(text)))]
            found += [named[word] for word in words if word in named]
    return list({pin.name: pin for pin in found}.values())


def of_inventory(found: Inventory, container: str = "") -> dict[str, Any]:
    """Return the bill of a file system by what is installed there: of a container's image, or of a machine's root.

    A machine is named by its system, so that the same files have the same bill wherever they lie.
    """
    distro = f"{found.distribution}-{found.release}" if found.release else found.distribution
    components = []
    if found.distribution:
        system = _purl("generic", found.distribution, found.release)
        components.append(
            Component("operating-system", found.distribution, found.release or "unknown", system)
        )
    for item in found.items:
        properties = {"trainforge:place": item.place} if item.place else {}
        if item.kind in ("deb", "rpm"):
            purl = _package_purl(item, found.distribution, distro)
        else:
            purl = _purl(item.kind, item.name, item.version)
        components.append(Component("library", item.name, item.version, purl, properties))
    if container:
        return bill("container", container, components)
    return bill("operating-system", distro or "unknown", components)


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
    return _purl(item.kind, item.name, version, distribution) + (f"?{text}" if text else "")


def bill(
    kind: str, name: str, components: Iterable[Component], properties: Mapping[str, str] | None = None
) -> dict[str, Any]:
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
            "tools": {
                "components": [
                    {"type": "application", "name": "trainforge", "version": version("trainforge")}
                ]
            },
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
