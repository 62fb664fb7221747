"""Software bills of materials of images by their pins, and of what is installed; `software.bill` has their form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

# The modules are those of jobs, whose folder is on mypy's path: by its name here Python would load them twice.
if TYPE_CHECKING:
    from software import bill as bills
    from software.bill import Component, bill, purl
    from software.inventory import Inventory

    from catalog.machine_images import MachineImage
    from catalog.versions import Pin
else:
    from workloads.runtime.software import bill as bills
    from workloads.runtime.software.bill import Component, bill, purl

_PYTHON = frozenset({"torch", "uv", "py-spy", "hyperpod-elastic-agent"})
"""Pins of an image's build that are packages of PyPI."""

_MACHINE_IMAGES = Path(__file__).resolve().parents[1] / "machine_images"
_IF_ABSENT = frozenset({"SSM agent", "enroot", "pyxis"})
"""Pins whose roles leave what the parent has; their version here is that of an image whose parent has none."""

_VERSION_OF_LOCK = re.compile(r"\block\.versions\.(\w+)")
_NAME_OF_LOCK = re.compile(r"(?:\block\.(?:downloads|sources)\.|\b(?:download|source_tree)_name: )(\w+)")
_LOOP = re.compile(r"^\s*loop: \[(.*)\]", re.MULTILINE)
"""The words of a role that take a version of the playbooks' lock, and a list of names that a task repeats."""

_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==(?P<version>[^\s;#]+)(?:\s*;\s*(?P<marker>[^#]+))?",
    re.ASCII,
)


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
        url = purl("pypi" if part in _PYTHON else "generic", part, version)
        components.append(Component("library", part, version, url, _source(part, version, sources)))
    for found in filter(None, map(_REQUIREMENT.match, lines)):
        package, version = found["name"], found["version"]
        told = _source(package, version, sources)
        if found["marker"]:
            told["trainforge:condition"] = f"only where {found['marker'].strip()}"
        components.append(Component("library", package, version, purl("pypi", package, version), told))
    return bill("container", f"trainforge-{name}", components, tool_version=_version())


def of_inventory(found: Inventory, container: str = "") -> dict[str, Any]:
    """Return the bill of a file system by what is installed there: of a container's image, or of a machine's root."""
    return bills.of_inventory(found, container, tool_version=_version())


def _version() -> str:
    return metadata.version("trainforge")


def _of_machine_image(image: MachineImage) -> dict[str, Any]:
    components = []
    for pin in _pins_of_playbook(image.name):
        # A package of apt is pinned with its name, as NAME=VERSION.
        version = pin.rpartition("=")[2]
        url = purl("generic", pin.name, version)
        properties = {"trainforge:source": pin.source}
        if pin.name in _IF_ABSENT:
            properties["trainforge:condition"] = "only where the parent has none"
        components.append(Component("library", pin.name, version, url, properties))
    parents = {f"trainforge:parent:{system}": parent.name for system, parent in image.parents.items()}
    return bill("operating-system", f"trainforge-{image.name}", components, parents, tool_version=_version())


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


def _base(reference: str, sources: Mapping[tuple[str, str], str]) -> Component:
    """Return the image that a build begins with."""
    name, at, digest = reference.partition("@")
    if not at:
        name, _, digest = reference.rpartition(":")
    host, slash, rest = name.partition("/")
    registry = host if slash and ("." in host or ":" in host) else ""
    url = f"pkg:docker/{rest if registry else name}@{quote(digest)}"
    if registry:
        url += f"?repository_url={quote(registry)}"
    [source] = [text for (_, version), text in sources.items() if version == reference] or ["unknown"]
    return Component("container", name, digest, url, {"trainforge:source": source})


def _source(name: str, version: str, sources: Mapping[tuple[str, str], str]) -> dict[str, str]:
    """Return the source of a pin; a pin of one image is called 'NAME of the IMAGE'."""
    for (pin, pinned), text in sources.items():
        if pinned == version and pin.partition(" of ")[0] == name:
            return {"trainforge:source": text}
    return {}
