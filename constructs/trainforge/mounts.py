"""Shared file systems as nodes mount them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LustreMount:
    """A Lustre file system by DNS name and mount name, and the `path` where nodes mount it."""

    dns_name: str
    mount_name: str
    path: str


@dataclass(frozen=True, slots=True)
class OpenZfsMount:
    """An OpenZFS file system by DNS name, and the `path` where nodes mount it."""

    dns_name: str
    path: str
