"""The environment of one rank as plain values, and the checks that compare it with the catalog and with other ranks."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import node_checks
import torch
import torch.distributed as dist
from health.devices import devices, efa_devices, usable_efa_devices
from health.instance_type import Expected
from software.compatibility import IMAGE, differences, lock, problems
from software.installed import in_use, installed

PER_RANK = frozenset({"rank", "host", "device"})
"""Values that differ between ranks by their nature."""

_MIN_MEMORY = 0.9
"""Part of the catalog's memory that a device must show: our choice, as in the health checks."""

_VARIABLES = re.compile(r"(?:NCCL|FI|OFI|TORCH_NCCL|NEURON|CUDA_VISIBLE)_[A-Z0-9_]*|LD_LIBRARY_PATH")
_OWN_VARIABLES = frozenset(("NCCL_DEBUG_FILE", "TORCH_NCCL_DUMP_ON_TIMEOUT", "CUDA_VISIBLE_DEVICES"))
"""Variables whose value is a file or device of one process."""

_IMAGE_RUNTIME = Path("/opt/trainforge/runtime")
"""The folder of an image of ours that has this program: there the lock decides, and elsewhere a node's owner."""

_PACKAGES = ("torch-neuronx", "neuronx-cc", "numpy", "triton")


@dataclass(frozen=True)
class Check:
    """A check of the environment: its name, where it was made, whether it holds, the value and what was expected."""

    name: str
    where: str
    holds: bool
    value: str
    expected: str

    def to_json(self) -> dict[str, object]:
        """Return it as an object of JSON."""
        return asdict(self)


def gather_values(rank: int, local_rank: int) -> dict[str, Any]:
    """Return this rank's environment: versions, devices, variables; a value that is absent is None."""
    cuda = torch.cuda.is_available()
    # torch's own word on torch, CUDA and NCCL comes after, and counts.
    values: dict[str, Any] = {
        **in_use(installed()),
        "rank": rank,
        "host": os.uname().nodename,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "built for": "CUDA" if torch.version.cuda else "processors",
        "CUDA": torch.version.cuda,
        "CUDA works": cuda,
        "cuDNN": torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None,
        "NCCL": ".".join(map(str, torch.cuda.nccl.version())) if cuda and dist.is_nccl_available() else None,
        "gloo": dist.is_gloo_available(),
        "GPUs": torch.cuda.device_count() if cuda else 0,
        "Neuron devices": len(devices("neuron")),
        "EFA devices": len(efa_devices()),
        "EFA devices given": len(usable_efa_devices()),
    }
    for package in _PACKAGES:
        values[package] = _version(package)
    if cuda:
        properties = torch.cuda.get_device_properties(local_rank % torch.cuda.device_count())
        values["device"] = f"cuda:{local_rank}"
        values["GPU"] = properties.name
        values["GPU memory MiB"] = properties.total_memory >> 20
    named = {name: value for name, value in os.environ.items() if _VARIABLES.fullmatch(name)}
    values |= {name: named[name] for name in sorted(named) if name not in _OWN_VARIABLES}
    return values


def check_rank(
    values: Mapping[str, Any], expected: Expected | None, named: str, efa: int | None, nodes: int
) -> list[Check]:
    """Compare a rank's values with its instance type, and load what NCCL and libfabric load.

    `efa` is the number of EFA interfaces where it is not the type's. EFA is asked for on several nodes alone.
    """
    where = f"rank {values['rank']} on {values['host']}"
    if expected is None:
        return [Check("instance type", where, False, f"'{named}'", "a type of the catalog")]
    found = [Check("instance type", where, True, named, "a type of the catalog")]

    def compare(name: str, value: object, right: object, holds: bool) -> None:
        found.append(Check(name, where, holds, str(value), str(right)))

    if expected.accelerator == "gpu":
        compare("CUDA works", values["CUDA works"], True, values["CUDA works"] is True)
        compare("GPUs", values["GPUs"], expected.count, values["GPUs"] == expected.count)
        compare("NCCL", values["NCCL"], "a version", values["NCCL"] is not None)
        compare("cuDNN", values["cuDNN"], "a version", values["cuDNN"] is not None)
        memory, least = values.get("GPU memory MiB", 0), int(expected.memory_mib * _MIN_MEMORY)
        compare("GPU memory MiB", memory, f"at least {least}", memory >= least)
    if expected.accelerator == "neuron":
        count = values["Neuron devices"]
        compare("Neuron devices", count, expected.count, count == expected.count)
        for package in ("torch-neuronx", "neuronx-cc"):
            compare(package, values[package], "a version", values[package] is not None)
    compare("gloo", values["gloo"], True, values["gloo"] is True)
    if _IMAGE_RUNTIME.is_dir():
        found += check_software(values, where)
    interfaces = expected.efa if efa is None else efa
    if interfaces and nodes > 1:
        kind = expected.accelerator or "cpu"
        for name, others in (("EFA provider", {"plugin"}), ("OFI plugin", {"efa"})):
            if name == "EFA provider" or kind == "gpu":
                skip = frozenset({"accelerators", *others})
                missing = node_checks.missing(kind, expected.count, interfaces, skip=skip)
                compare(name, "; ".join(missing) or "works", "works", not missing)
    return found


def check_software(values: Mapping[str, Any], where: str) -> Iterator[Check]:
    """Yield a check for each part of the image that is not the lock's, and for each that does not fit the others.

    The driver is the node's: it must be new enough for the image's CUDA, and may be another than the lock's.
    """
    parts = lock()["parts"]
    stack = {name: str(values[name]) for name in parts if values.get(name) is not None}
    for name in differences(stack, frozenset((IMAGE,))):
        yield Check(f"locked {name}", where, False, stack[name], parts[name]["version"])
    for problem in problems(stack, frozenset((IMAGE,))):
        yield Check("versions work together", where, False, problem, "a combination of the lock")


def check_equal(ranks: Sequence[Mapping[str, Any]], allowed: frozenset[str]) -> Iterator[Check]:
    """Yield a check for each value that differs between ranks: the few that differ, and what most have."""
    names = sorted({name for values in ranks for name in values} - PER_RANK - allowed)
    for name in names:
        by_value: dict[str, list[int]] = {}
        for values in ranks:
            by_value.setdefault(str(values.get(name)), []).append(values["rank"])
        if len(by_value) == 1:
            continue
        # Of two that are as many, the lower ranks are right.
        usual = max(by_value, key=lambda value: (len(by_value[value]), -min(by_value[value])))
        for value, having in sorted(by_value.items()):
            if value != usual:
                listed = ", ".join(map(str, having))
                yield Check(f"equal {name}", f"rank {listed}", False, value, f"{usual}, as of other ranks")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
