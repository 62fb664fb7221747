"""The accelerators and EFA devices that a process sees, by the files of the kernel: for the launch guard too."""

from __future__ import annotations

import os
import re
from pathlib import Path

_AMAZON = "0x1d0f"
_EFA_DEVICE = re.compile(r"0xefa[0-9a-f]")
"""PCI device ids of EFA: 0xefa0 and the following (Linux, drivers/infiniband/hw/efa/efa_main.c)."""

_DEVICES = {"gpu": re.compile(r"nvidia\d+"), "neuron": re.compile(r"neuron\d+")}


def devices(kind: str, root: Path = Path("/")) -> list[str]:
    """Return the accelerators' device files that this process sees, sorted."""
    folder = root / "dev"
    names = os.listdir(folder) if folder.is_dir() else []
    return sorted(name for name in names if _DEVICES[kind].fullmatch(name))


def efa_devices(root: Path = Path("/")) -> list[str]:
    """Return the node's EFA devices by their names in /sys/class/infiniband: those of the efa driver alone.

    A container sees all of the node's there, given to it or not.
    """
    folder = root / "sys/class/infiniband"
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    return [name for name in names if _is_efa(folder / name / "device")]


def usable_efa_devices(root: Path = Path("/")) -> list[str]:
    """Return the EFA devices whose /dev/infiniband/uverbs* is here: those that this process may open."""
    verbs = root / "sys/class/infiniband_verbs"
    names = sorted(os.listdir(verbs)) if verbs.is_dir() else []
    here = {_text(verbs / name / "ibdev") for name in names if (root / "dev/infiniband" / name).exists()}
    return [name for name in efa_devices(root) if name in here]


def _is_efa(device: Path) -> bool:
    driver = device / "driver"
    if driver.exists():
        return driver.resolve().name == "efa"
    return _text(device / "vendor") == _AMAZON and _EFA_DEVICE.fullmatch(_text(device / "device")) is not None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
