"""Made-up roots of file systems with the software stack, as installers, vendors and builds from source leave it.

Forms and their sources, read 2026-11-28: the first line of efa_installed_packages and the plugin's text by
awslabs/awsome-distributed-ai (efa-versions.py); libfabric.pc by libfabric's libfabric.pc.in; the driver's file by
NVIDIA's README, chapter 'Proc filesystem interface'; dpkg's status by deb(5) and dpkg's manual.
"""

from __future__ import annotations

from pathlib import Path

from catalog.versions import STACK

PLUGIN = b"\x7fELF\0NET/OFI Initializing aws-ofi-nccl %s\0\0"
NCCL = b"\x7fELF\0NCCL version %s+cuda13.0\0\0"


class InstalledRoot:
    """The root of a file system; `put` writes a file, and layouts write all that one has."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)

    def put(self, name: str, content: str | bytes = "") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def packages(self, **versions: str) -> None:
        """Write dpkg's status: names have _ for -."""
        text = "\n".join(
            f"Package: {name.replace('_', '-')}\nStatus: install ok installed\nVersion: {version}\n"
            for name, version in versions.items()
        )
        self.put("var/lib/dpkg/status", text)

    def efa(self, plugin: str = "opt/amazon/ofi-nccl/lib") -> None:
        """Install as the EFA installer does."""
        self.put(
            "opt/amazon/efa_installed_packages",
            f"# EFA installer version: {STACK['EFA installer']}\n# Debug packages installed: no\n",
        )
        self.put(
            "opt/amazon/efa/lib/pkgconfig/libfabric.pc",
            "prefix=/opt/amazon/efa\n\nName: libfabric\nVersion: 2.4.0amzn3.0\n",
        )
        self.put(f"{plugin}/libnccl-net.so", PLUGIN % STACK["aws-ofi-nccl"].encode())

    def torch(
        self, site: str = "opt/trainforge/venv/lib/python3.10/site-packages", build: str = "cu130"
    ) -> None:
        """Install torch with its NCCL, as wheels do."""
        self.put(f"{site}/torch-{STACK['torch']}+{build}.dist-info/METADATA")
        self.put(f"{site}/nvidia_nccl_cu13-{STACK['NCCL']}.dist-info/METADATA")
        self.put(f"{site}/torchvision-0.26.0.dist-info/METADATA")

    def driver(self, version: str = STACK["NVIDIA driver"]) -> None:
        """Load a driver as /proc shows it."""
        self.put(
            "proc/driver/nvidia/version",
            f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {version}  Release Build  (dvs-builder)  Mon\n"
            "GCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2~24.04)\n",
        )

    def cuda(self, version: str = STACK["CUDA"]) -> None:
        """Install CUDA as its packages do."""
        self.put(
            "usr/local/cuda/version.json", f'{{"cuda": {{"name": "CUDA SDK", "version": "{version}"}}}}\n'
        )
