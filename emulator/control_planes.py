"""The interface of control planes for the emulated EKS clusters.

The emulator has none itself. Whoever starts it may name a class that runs some, with options of its own
(`python -m emulator --control-planes FILE`); without, clusters are entries in a list, as their nodes are.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

Document = dict[str, Any]


class ControlPlaneError(Exception):
    """A control plane, or what is installed on it, does not do what was asked; the text says why."""


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a cluster's API server, and the certificate of its authority (PEM, in base64)."""

    endpoint: str
    authority: str


@dataclass(frozen=True, slots=True)
class Release:
    """A Helm release: its own objects, or the name of another maker's `chart` with the values for it."""

    name: str
    namespace: str
    chart: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    documents: tuple[Document, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeGroup:
    """Equal nodes of a cluster, with the labels that they join it with."""

    name: str
    nodes: int
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grant:
    """Rights of an access entry: one of EKS's access policies for a group, in `namespaces` or everywhere."""

    group: str
    policy: str
    namespaces: tuple[str, ...] = ()


class ControlPlanes(Protocol):
    """Control planes by the ARN of their cluster. Every method returns when its work is done.

    All raise ControlPlaneError.
    """

    def create(self, cluster: str, review_url: str) -> Address:
        """Start a cluster's control plane, whose API server has tokens of users reviewed at `review_url`."""

    def delete(self, cluster: str) -> None:
        """End a cluster's control plane with its nodes, and remove its folder; harmless where there is none."""

    def install(self, cluster: str, release: Release, previous: Release | None = None) -> None:
        """Install a release, or bring it from `previous` to what it is now."""

    def uninstall(self, cluster: str, release: Release) -> None:
        """Delete a release's objects, and end its programs."""

    def set_nodes(self, cluster: str, group: NodeGroup) -> None:
        """Make a group's nodes as many as it says; none of them ends the group."""

    def set_grants(self, cluster: str, grants: tuple[Grant, ...]) -> None:
        """Give exactly these rights to groups of users."""

    def notes(self) -> list[str]:
        """Return what is not installed or does not run, a sentence each."""

    def close(self) -> None:
        """End everything and leave nothing behind."""


_given: list[ControlPlanes] = []


def configured() -> ControlPlanes | None:
    """Return the control planes, or None if none are configured."""
    return _given[0] if _given else None


def load(file: Path) -> None:
    """Take who runs control planes: a JSON file with the `class` (MODULE:NAME) and its `options`."""
    document = json.loads(file.read_text(encoding="utf-8"))
    module, _, name = document["class"].partition(":")
    _given[:] = [getattr(importlib.import_module(module), name)(**document["options"])]


def close() -> None:
    """End all control planes."""
    while _given:
        _given.pop().close()
