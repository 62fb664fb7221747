"""Handlers of CloudFormation types, grouped by service: a new type is one small class in a module here."""

from __future__ import annotations

import importlib
import pkgutil

from emulator.resources.resource import REGISTRY, Context, Kind, Resource, ResourceFailure

__all__ = ["REGISTRY", "Context", "Kind", "Resource", "ResourceFailure", "load"]


def load() -> None:
    """Import every module of this package, so that its handlers enter the registry."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
