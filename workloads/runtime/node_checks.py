"""Checks of a node before a run, from a process on it: accelerators, EFA interfaces, NCCL's OFI plugin.

Used by the launch guard before a run; the standard library alone. The look at devices is that of the health checks.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from health.devices import devices, efa_devices, usable_efa_devices
from software.installed import PLUGIN_FOLDERS, is_ofi

_PROGRAM_SECONDS = 20
_NAMES = {"gpu": "GPUs", "neuron": "Neuron devices"}
_ASKS = {"gpu": "nvidia.com/gpu", "neuron": "aws.amazon.com/neuron"}
# In a process of its own: a library that hangs or crashes while it loads must not take the guard with it. The
# loader tells which file the name led to, as NCCL asks it (getLibPath in src/plugin/plugin_open.cc).
_LOAD = """
import ctypes, sys

class Map(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("name", ctypes.c_char_p)]

library = ctypes.CDLL(sys.argv[1])
found = ctypes.POINTER(Map)()
ctypes.CDLL(None).dlinfo(ctypes.c_void_p(library._handle), 2, ctypes.byref(found))
print(found.contents.name.decode())
"""


def missing(
    kind: str,
    accelerators: int,
    efa: int,
    *,
    skip: frozenset[str] = frozenset(),
    root: Path = Path("/"),
    environment: Mapping[str, str] = os.environ,
) -> list[str]:
    """Return what this node lacks for a run, a sentence each: what was expected, what is there, what to do.

    `skip` names checks to leave out: accelerators, efa, plugin.
    """
    found: list[str] = []
    if accelerators and "accelerators" not in skip:
        found += _accelerators(kind, accelerators, root, environment)
    if efa and "efa" not in skip:
        found += _efa(efa, root, environment)
    if efa and kind == "gpu" and "plugin" not in skip:
        found += _plugin(root, environment)
    return found


def _accelerators(kind: str, expected: int, root: Path, environment: Mapping[str, str]) -> Iterator[str]:
    name = _NAMES[kind]
    seen = len(devices(kind, root))
    if seen < expected:
        yield (
            f"accelerators: {expected} {name} expected, {seen} in /dev; in Kubernetes the pod must ask for "
            f"{_ASKS[kind]}: {expected}, elsewhere the image or the node lacks the driver or its container toolkit"
        )
        return
    program = shutil.which("nvidia-smi", path=environment.get("PATH")) if kind == "gpu" else None
    if program is None:
        return
    code, output = _run([program, "-L"], environment)
    listed = len(re.findall(r"^GPU \d+:", output, re.MULTILINE))
    if code != 0 or listed < expected:
        lines = output.strip().splitlines()
        yield (
            f"accelerators: {expected} GPUs expected, nvidia-smi lists {listed} and ends with {code}"
            f"{': ' + repr(lines[-1]) if code and lines else ''}; the node needs a reboot or is broken: replace it"
        )


def _efa(expected: int, root: Path, environment: Mapping[str, str]) -> Iterator[str]:
    all_, usable = len(efa_devices(root)), len(usable_efa_devices(root))
    if all_ < expected:
        yield (
            f"efa: {expected} EFA interfaces expected, the node has {all_}; its launch template must ask for EFA on "
            "every network card that has it, and the node needs the efa kernel module ('modinfo efa')"
        )
    elif usable < expected:
        yield (
            f"efa: {expected} EFA interfaces expected, the node has {all_}, and {usable} of them are given to this "
            f"process in /dev/infiniband; a pod must ask for vpc.amazonaws.com/efa: {expected}, a Batch job or "
            "container needs the devices /dev/infiniband/uverbs*"
        )
    else:
        place = os.pathsep.join([environment.get("PATH", ""), str(root / "opt/amazon/efa/bin")])
        program = shutil.which("fi_info", path=place)
        if program is None:
            return
        code, output = _run([program, "-p", "efa", "-t", "FI_EP_RDM"], environment)
        if code != 0 or "provider: efa" not in output:
            yield (
                f"efa: the interfaces are there, but libfabric finds no efa provider (fi_info ends with {code}); the "
                "image's EFA installer is older than the node's, or locked memory is limited ('ulimit -l' must say "
                "unlimited)"
            )


def _plugin(root: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Load the plugin as NCCL does (src/plugin/plugin_open.cc): the name unchanged, then libnccl-net-<name>.so."""
    plugin = environment.get("NCCL_NET_PLUGIN", "")
    if plugin.lower() == "none":
        yield "plugin: NCCL_NET_PLUGIN is 'none', so NCCL takes no plugin; unset it"
        return
    names = [part for part in plugin.split(",") if part] or ["libnccl-net.so"]
    said = []
    for name in names:
        forms = [name] if "/" in name or name.endswith(".so") else [name, f"libnccl-net-{name}.so"]
        for form in forms:
            code, output = _run([sys.executable, "-c", _LOAD, form], environment)
            lines = output.strip().splitlines() or [f"ended with {code}"]
            if code != 0:
                said.append(f"{form}: {lines[-1].removeprefix('OSError: ')}")
            elif is_ofi(Path(lines[-1])):
                return
            else:
                said.append(f"{form} leads to '{lines[-1]}', which is another network's plugin")
    there = [path for folder in PLUGIN_FOLDERS for path in sorted((root / folder).glob("libnccl-net*.so"))]
    if there:
        way = (
            f"the plugin is '{there[0]}': add its folder to LD_LIBRARY_PATH before others, and set NCCL_NET_PLUGIN=ofi "
            "where it is named libnccl-net-ofi.so"
        )
    else:
        way = "the image lacks the EFA layer: build it on trainforge's base image"
    yield f"plugin: NCCL's OFI plugin does not load ({'; '.join(said)}); {way}"


def _run(words: list[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a program briefly and return its exit code and output; one that hangs or cannot start counts as failed."""
    try:
        done = subprocess.run(  # noqa: S603 -- programs that this module names
            words,
            env=dict(environment),
            capture_output=True,
            text=True,
            timeout=_PROGRAM_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 124, f"no answer within {_PROGRAM_SECONDS} s"
    except OSError as error:
        return 127, str(error)
    return done.returncode, done.stdout + done.stderr
