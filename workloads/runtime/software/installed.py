"""The versions of the stack's parts that are installed below a root, each with the file or program that told it.

Places are those of an EFA installer, of NVIDIA's images, of builds from source, of Python packages and of Neuron's
packages. Nothing of another root is executed; of the running system `fi_info` is asked, which knows its libfabric.
Sources of places and forms: awslabs/awsome-distributed-ai (4.validation_and_observability/efa-versions.py and its
Dockerfiles), NVIDIA/nccl (Makefiles, init.cc), NVIDIA/gdrcopy (Makefile), read 2026-11-28.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .packages import package_versions
from .rooted import inside, read

PLUGIN_FOLDERS = (
    "opt/amazon/ofi-nccl/lib",
    "opt/amazon/ofi-nccl/lib/x86_64-linux-gnu",
    "opt/amazon/ofi-nccl/lib/aarch64-linux-gnu",
    "opt/amazon/ofi-nccl/lib64",
    "opt/amazon/aws-ofi-nccl/lib",
    "opt/aws-ofi-nccl/install/lib",
    "opt/aws-ofi-nccl/lib",
)
"""Folders of NCCL's OFI plugin: of EFA installers of several ages, of NVIDIA's images, of builds from source."""

_NCCL_FOLDERS = (
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib64",
    "usr/local/lib",
    "usr/local/cuda/lib64",
    "usr/local/cuda/lib",
    "opt/nccl/build/lib",
    "opt/nccl/lib",
)
_SITES = (
    "opt/trainforge/venv/lib/python3*/site-packages",
    "opt/*/lib/python3*/site-packages",
    "usr/local/lib/python3*/site-packages",
    "usr/local/lib/python3*/dist-packages",
    "usr/lib/python3*/dist-packages",
    "usr/lib/python3*/site-packages",
)
_INSTALLER = "opt/amazon/efa_installed_packages"
_DRIVER = "proc/driver/nvidia/version"
_NEURON_DRIVER = "sys/module/neuron/version"
_DISTRIBUTION = re.compile(r"(?P<name>[A-Za-z0-9_.]+)-(?P<version>[0-9][^-]*)\.dist-info")
_PYTHON_PARTS = {
    "torch": "torch",
    "neuronx_cc": "neuronx-cc",
    "torch_neuronx": "torch-neuronx",
    "nvidia_nccl_cu13": "NCCL",
    "nvidia_nccl_cu12": "NCCL",
}
_PACKAGES = {
    "libfabric1-aws": "libfabric",
    "libfabric-aws": "libfabric",
    "libnccl-ofi": "aws-ofi-nccl",
    "libnccl-ofi-ngc": "aws-ofi-nccl",
    "libnccl2": "NCCL",
    "libnccl": "NCCL",
    "libgdrapi": "GDRCopy",
    "gdrcopy": "GDRCopy",
    "nvidia-container-toolkit": "NVIDIA container toolkit",
    # Where the module is not loaded, as on the builders of images, which have no GPU.
    "nvidia-open": "NVIDIA driver",
    "aws-neuronx-dkms": "aws-neuronx-dkms",
    "aws-neuronx-runtime-lib": "aws-neuronx-runtime-lib",
    "aws-neuronx-collectives": "aws-neuronx-collectives",
    "aws-neuronx-tools": "aws-neuronx-tools",
}
_SECONDS = 20


@dataclass(frozen=True)
class Found:
    """An installed part: its name in the lock, its version, and the place below the root that told it."""

    part: str
    version: str
    place: str


def installed(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> list[Found]:
    """Return what is installed below a root; of a part that is there several times the first is the one in use.

    Of the running system the environment's Python and LD_LIBRARY_PATH come before other places.
    """
    live = root.resolve() == Path("/")
    paths = environment.get("LD_LIBRARY_PATH", "").split(os.pathsep) if live else []
    sites = [Path(entry) for entry in sys.path if entry] if live else []
    found: list[Found] = []
    found += _installer(root)
    found += _libfabric(root, environment if live else None)
    found += _plugins(root, paths)
    found += _python_parts(root, sites)
    found += _nccl(root, paths)
    found += _cuda(root)
    found += _drivers(root)
    found += _gdrcopy(root)
    packages = package_versions(root)
    for name, version in packages.items():
        # Libraries have the major version of their interface in the name: libnccl-ofi-ngc-v3.
        part = _PACKAGES.get(re.sub(r"-v\d+$", "", name))
        if part is not None:
            found.append(Found(part, version, f"package {name}"))
    return list(dict.fromkeys(found))


def in_use(found: Sequence[Found]) -> dict[str, str]:
    """Return the version of each part: of several the first."""
    versions: dict[str, str] = {}
    for one in found:
        versions.setdefault(one.part, one.version)
    return versions


def is_ofi(path: Path) -> bool:
    """Return whether a library is AWS's plugin: images of NVIDIA bring another one of the same name for InfiniBand."""
    return _search(path, rb"NET/OFI") is not None


def _installer(root: Path) -> Iterator[Found]:
    text = _text(root, _INSTALLER)
    found = re.search(r"EFA installer version:\s*(\d+(?:\.\d+)+)", text)
    if found:
        yield Found("EFA installer", found[1], f"/{_INSTALLER}")


def _libfabric(root: Path, environment: Mapping[str, str] | None) -> Iterator[Found]:
    """Yield libfabric's version: what the running system's fi_info says, then the file for compilers."""
    if environment is not None:
        place = os.pathsep.join([environment.get("PATH", ""), "/opt/amazon/efa/bin"])
        program = shutil.which("fi_info", path=place)
        said = _said([program, "--version"]) if program else ""
        found = re.search(r"libfabric: (\S+)", said)
        if program and found:
            yield Found("libfabric", found[1], f"{program} --version")
    for folder in ("lib", "lib64"):
        name = f"opt/amazon/efa/{folder}/pkgconfig/libfabric.pc"
        found = re.search(r"^Version:\s*(\S+)", _text(root, name), re.MULTILINE)
        if found:
            yield Found("libfabric", found[1], f"/{name}")


def _plugins(root: Path, paths: Sequence[str]) -> Iterator[Found]:
    """Yield the OFI plugins, in the order of the loader's path, the loader's configuration, and known folders."""
    named = [line.strip() for line in _text(root, "etc/ld.so.conf.d/100_ofinccl.conf").splitlines()]
    folders = dict.fromkeys(path.lstrip("/") for path in (*paths, *named, *PLUGIN_FOLDERS) if path)
    for folder in folders:
        for name, path in _files(root, folder, "libnccl-net*.so"):
            version = _search(path, rb"aws-ofi-nccl (\d+(?:\.\d+)+)")
            if version:
                yield Found("aws-ofi-nccl", version, name)


def distributions(root: Path, sites: Sequence[Path] = ()) -> Iterator[tuple[str, str, str]]:
    """Yield name, version and place of each Python package below a root; folders of `sites` come first."""
    below = (path.relative_to(root) for pattern in _SITES for path in sorted(root.glob(pattern)))
    folders = list(sites)
    for path in below:
        with contextlib.suppress(OSError):
            folders.append(inside(root, str(path)))
    for folder in dict.fromkeys(folders):
        try:
            names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".dist-info"))
        except OSError:
            continue
        shown = folder.relative_to(root) if folder.is_relative_to(root) else folder
        for name in names:
            found = _DISTRIBUTION.fullmatch(name)
            if found:
                yield found["name"], found["version"], f"/{shown}/{name}".replace("//", "/")


def _python_parts(root: Path, sites: Sequence[Path]) -> Iterator[Found]:
    for name, version, place in distributions(root, sites):
        part = _PYTHON_PARTS.get(name.lower())
        if part:
            yield Found(part, version, place)


def _nccl(root: Path, paths: Sequence[str]) -> Iterator[Found]:
    """Yield the NCCL libraries of folders: by the name that a build gives the file, or by what it says of itself."""
    folders = dict.fromkeys(path.lstrip("/") for path in (*paths, *_NCCL_FOLDERS) if path)
    for folder in folders:
        for name, path in _files(root, folder, "libnccl.so*"):
            named = re.search(r"\.so\.(\d+\.\d+\.\d+)$", path.name)
            said = named[1] if named else _search(path, rb"NCCL version (\d+\.\d+\.\d+)")
            if said:
                yield Found("NCCL", said, name)
                break


def _cuda(root: Path) -> Iterator[Found]:
    name = "usr/local/cuda/version.json"
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        version = json.loads(_text(root, name))["cuda"]["version"]
        if isinstance(version, str):
            yield Found("CUDA", version, f"/{name}")


def _drivers(root: Path) -> Iterator[Found]:
    found = re.search(r"NVRM version:.*?\s(\d+\.\d+(?:\.\d+)?)\s", _text(root, _DRIVER))
    if found:
        yield Found("NVIDIA driver", found[1], f"/{_DRIVER}")
    version = _text(root, _NEURON_DRIVER).strip()
    if version:
        yield Found("aws-neuronx-dkms", version, f"/{_NEURON_DRIVER}")


def _gdrcopy(root: Path) -> Iterator[Found]:
    for folder in ("opt/gdrcopy/lib", "usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64"):
        for name, _ in _files(root, folder, "libgdrapi.so.*.*"):
            version = name.partition(".so.")[2]
            if re.fullmatch(r"\d+(?:\.\d+)+", version):
                yield Found("GDRCopy", version, name)


def _files(root: Path, folder: str, pattern: str) -> Iterator[tuple[str, Path]]:
    """Yield the name below a root, and the file itself, of what a folder has by a pattern, sorted."""
    try:
        names = sorted(f"{folder}/{path.name}" for path in inside(root, folder).glob(pattern))
    except OSError:
        return
    for name in names:
        with contextlib.suppress(OSError):
            yield f"/{name}", inside(root, name)


def _text(root: Path, name: str) -> str:
    return read(root, name) or ""


def _search(path: Path, pattern: bytes) -> str | None:
    """Return the first group of a pattern in a library, or all that it matches; None where it is not there.

    The file is mapped, not read: NCCL's library has hundreds of megabytes.
    """
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = re.search(pattern, content)
            return found[found.lastindex or 0].decode("ascii", errors="replace") if found else None
    except (OSError, ValueError):
        return None


def _said(words: Sequence[str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603 -- a program that this module names
            words, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
