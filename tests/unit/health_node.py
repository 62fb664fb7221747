"""Made-up nodes for the health checks: files below a root, and programs that answer in recorded forms.

Forms and their sources, read 2026-11-28: `nvidia-smi` queries, `nvlink -s`, `nvlink -e` and `topo -m` as in
stas00/ml-engineering (compute/accelerator/nvidia/debug.md) and in posts that print them; the flag of SRAM errors as
`nvidia-smi -q -d ECC` of R550 and later prints it; `dcgmi diag -j` by NVIDIA/DCGM (dcgmi/Diag.cpp and
NvvsJsonStrings.h, version 4) and awslabs/awsome-distributed-ai (version 3); `fi_info` by the EFA guide of EC2;
`neuron-ls` by lablup/backend.ai's capture of a trn1 instance; counters of Neuron devices by the driver's
neuron_sysfs_metrics.c; Xid lines by NVIDIA's catalog, SXid lines by NVIDIA's fabric manager and leptonai/gpud.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from catalog.instances import instance
from catalog.reference_types import CPU, GPU, NEURON
from tests.programs import RUNTIME
from tests.shebang import shebang

PROGRAMS = ("nvidia-smi", "dcgmi", "fi_info", "fi_pingpong", "lspci", "systemctl", "journalctl", "dmesg")
LINKS = 18
UPTIME = 100_000.0


class HealthNode:
    """A healthy node of a type; tests break what they are about, and `run` examines it.

    `gpus` has a row for each GPU, by the columns of nvidia-smi's queries; `answers` has each program's answer by its
    arguments, an exit code with it: (0, "text").
    """

    def __init__(self, folder: Path, instance_type: str = GPU) -> None:
        self.root, self.bin = folder / "root", folder / "bin"
        self.type = instance_type
        for path in (self.root, self.bin):
            path.mkdir(parents=True)
        facts = instance(instance_type)
        self.answers: dict[str, dict[str, tuple[int, str]]] = {}
        self.hangs: set[str] = set()
        self.gpus: list[dict[str, str]] = []
        if facts.accelerator and facts.accelerator.kind == "gpu":
            memory = facts.accelerator.memory_mib * 995 // 1000
            self.gpus = [_gpu(index, memory) for index in range(facts.accelerators)]
        self.xids: list[str] = []
        self.links: dict[tuple[int, int], str] = {}
        self.pairs: dict[tuple[int, int], str] = {}
        self.sram: set[int] = set()
        self.neuron: list[dict[str, Any]] = []
        if facts.accelerator and facts.accelerator.kind == "neuron":
            # Trainium2's cores are counted in twos (AWS Neuron, "Neuron LS User Guide").
            pairs = 2 if facts.accelerator.cores == 8 else 1
            for number in range(facts.accelerators):
                self.neuron.append(
                    {
                        "neuron_device": number,
                        "bdf": f"0000:00:{number:02x}.0",
                        "connected_to": None,
                        "nc_count": (facts.accelerator.cores or 0) // pairs,
                        **({"logical_neuroncore_config": pairs} if pairs > 1 else {}),
                        "memory_size": facts.accelerator.memory_mib << 20,
                        "neuron_processes": [],
                    }
                )
                for name in ("sram_ecc_uncorrected", "mem_ecc_uncorrected", "mem_ecc_repairable_uncorrected"):
                    self.counter(number, name, 0)
        self.write("sys/devices/virtual/dmi/id/product_name", f"{instance_type}\n")
        self.write("proc/uptime", f"{UPTIME} 1.0\n")
        for number in range(facts.instance_store.count if facts.instance_store else 0):
            self.write(f"sys/class/nvme/nvme{number + 1}/model", "Amazon EC2 NVMe Instance Storage        \n")
        self.write("sys/class/nvme/nvme0/model", "Amazon Elastic Block Store              \n")
        self.write("proc/mounts", "rootfs / rootfs rw 0 0\n")
        self.mount("/dev/nvme0n1p1 /data ext4 rw,relatime 0 0")
        self.efa(facts.efa_interfaces)
        self.domains = self.on_bus = facts.efa_interfaces
        self.answer("fi_pingpong", "", "bytes #sent\n64 10\n")
        self.answer("systemctl", "show", "LoadState=loaded\nActiveState=active\n")
        self.answer("dcgmi", "diag", dcgm({"name": "Memory", "results": [gpu_result(0, "Pass")]}))

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def mount(self, line: str) -> None:
        """Mount a file system of no size, by its line in /proc/mounts: those of this machine may be full."""
        (self.root / line.split()[1].lstrip("/")).symlink_to("/proc")
        table = self.root / "proc/mounts"
        self.write("proc/mounts", f"{table.read_text(encoding='utf-8')}{line}\n")

    def answer(self, program: str, argument: str, text: str, code: int = 0) -> None:
        """Let a program answer where a word of its command line begins with `argument`."""
        self.answers.setdefault(program, {})[argument] = (code, text)

    def efa(self, count: int, state: str = "4: ACTIVE") -> None:
        """Add EFA devices of the driver, each with a port in this state."""
        folder = self.root / "sys/class/infiniband"
        drivers = self.root / "sys/bus/pci/drivers/efa"
        drivers.mkdir(parents=True, exist_ok=True)
        have = len(list(folder.glob("*")))
        for number in range(have, have + count):
            name = f"rdmap{number}s0"
            device = folder / name / "device"
            device.mkdir(parents=True)
            (device / "driver").symlink_to(drivers)
            self.write(f"sys/class/infiniband/{name}/ports/1/state", f"{state}\n")

    def counter(self, device: int, name: str, value: int) -> None:
        self.write(f"sys/devices/virtual/neuron_device/neuron{device}/stats/hardware/{name}", f"{value}\n")

    def run(self, *words: str, suite: str = "light") -> dict[str, Any]:
        """Examine the node by the command line, and return the report's JSON."""
        done = self.command("--suite", suite, "--json", *words)
        assert done.stderr == ""
        report: dict[str, Any] = json.loads(done.stdout)
        assert report["exit_code"] == done.returncode
        return report

    def command(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        self._write_programs()
        return subprocess.run(
            [sys.executable, "-m", "health", "--root", str(self.root), *words],
            env=self.environment | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": str(self.bin),
            "PYTHONPATH": str(RUNTIME),
            "LANG": "C.UTF-8",
            "TRAINFORGE_HEALTH_PAUSE": "0",
        }

    def _write_programs(self) -> None:
        if self.gpus:
            self._answer_nvidia_smi()
        if self.domains:
            block = "provider: efa\n    fabric: efa\n    domain: rdmap{0}s0-rdm\n    type: FI_EP_RDM\n"
            self.answer("fi_info", "-p", "".join(block.format(number) for number in range(self.domains)))
        lines = [f"00:{number:02x}.0 0200: 1d0f:efa1" for number in range(self.on_bus)]
        self.answer("lspci", "-n", "".join(f"{line}\n" for line in ["00:05.0 0200: 1d0f:ec20", *lines]))
        self.answers.setdefault("journalctl", {"": (0, "".join(f"{line}\n" for line in self.xids))})
        if self.neuron:
            self.answers.setdefault("neuron-ls", {"--json-output": (0, json.dumps(self.neuron))})
        for name, answers in self.answers.items():
            self._program(name, answers)

    def _program(self, name: str, answers: dict[str, tuple[int, str]]) -> None:
        """Write a program that prints the answer for its arguments, without another program."""
        path = self.bin / name
        source = f"import sys, time\nanswers = {answers!r}\n"
        if name in self.hangs:
            source += "time.sleep(600)\n"
        source += (
            "for argument, (code, text) in answers.items():\n"
            "    if any(word.startswith(argument) for word in sys.argv[1:] or ['']):\n"
            "        (sys.stderr if code else sys.stdout).write(text)\n"
            "        sys.exit(code)\n"
            "sys.exit(f'no answer for {sys.argv[1:]}')\n"
        )
        # Replaced as a whole: an agent may run the program just now.
        written = path.with_name(f"{name}.new")
        written.write_text(f"{shebang(options='-S')}\n{source}", encoding="utf-8")
        written.chmod(0o755)
        written.replace(path)

    def _answer_nvidia_smi(self) -> None:
        for table in (
            ("--query-gpu=index,uuid,", "index", "uuid", "name", "memory.total"),
            ("--query-gpu=index,ecc", "index", *MEMORY_COLUMNS),
            ("--query-gpu=index,temp", "index", *CLOCK_COLUMNS),
            ("--query-gpu=index,pcie", "index", *PCIE_COLUMNS),
            ("--query-remapped-rows=", "bus", *ROW_COLUMNS),
        ):
            argument, *columns = table
            rows = [", ".join(gpu[column] for column in columns) for gpu in self.gpus]
            self.answers.setdefault("nvidia-smi", {}).setdefault(
                argument, (0, "".join(f"{r}\n" for r in rows))
            )
        answers = self.answers["nvidia-smi"]
        answers.setdefault("ECC", (0, "".join(self._ecc())))
        answers.setdefault("topo", (0, "".join(f"{line}\n" for line in self._topology())))
        states, errors = [], []
        for gpu in self.gpus:
            title = f"GPU {gpu['index']}: {gpu['name']} (UUID: {gpu['uuid']})\n"
            states.append(title)
            errors.append(title)
            for link in range(LINKS):
                state = self.links.get((int(gpu["index"]), link), "26.562 GB/s")
                states.append(f"\t Link {link}: {state}\n")
                errors += [f"\t Link {link}: {kind} Errors: 0\n" for kind in ("Replay", "Recovery", "CRC")]
        answers.setdefault("-s", (0, "".join(states)))
        answers.setdefault("-e", (0, "".join(errors)))

    def _ecc(self) -> Iterator[str]:
        for gpu in self.gpus:
            flag = "Yes" if int(gpu["index"]) in self.sram else "No"
            yield f"GPU {gpu['bus']}\n    ECC Errors\n        Aggregate\n"
            yield f"            SRAM Threshold Exceeded       : {flag}\n"

    def _topology(self) -> Iterator[str]:
        names = [f"GPU{gpu['index']}" for gpu in self.gpus]
        yield "\t" + "\t".join([*names, "CPU Affinity", "NUMA Affinity"])
        for row, name in enumerate(names):
            cells = []
            for column in range(len(names)):
                pair = (min(row, column), max(row, column))
                cells.append(" X " if row == column else self.pairs.get(pair, f"NV{LINKS}"))
            yield "\t".join([name, *cells, "0-95", "0"])
        yield "\nLegend:\n\n  X    = Self\n  NV#  = Connection traversing a bonded set of # NVLinks"


MEMORY_COLUMNS = (
    "ecc.mode.current",
    "ecc.errors.uncorrected.volatile.total",
    "ecc.errors.uncorrected.aggregate.total",
    "retired_pages.pending",
)
CLOCK_COLUMNS = (
    "temperature.gpu",
    "hw_slowdown",
    "hw_thermal_slowdown",
    "hw_power_brake_slowdown",
    "sw_thermal_slowdown",
)
PCIE_COLUMNS = ("width", "width.max", "gen", "gen.max")
ROW_COLUMNS = ("rows.uncorrectable", "rows.pending", "rows.failure")


def _gpu(index: int, memory: int) -> dict[str, str]:
    healthy = {
        "index": str(index),
        "uuid": f"GPU-{index:08x}",
        "bus": f"00000000:{0x53 + index:02X}:00.0",
        "name": "NVIDIA H100 80GB HBM3",
        "memory.total": str(memory),
        "temperature.gpu": "31",
        "width": "16",
        "width.max": "16",
        "gen": "5",
        "gen.max": "5",
        "ecc.mode.current": "Enabled",
        "retired_pages.pending": "[N/A]",
    }
    for name in (*MEMORY_COLUMNS[1:3], "rows.uncorrectable"):
        healthy[name] = "0"
    for name in ("rows.pending", "rows.failure"):
        healthy[name] = "No"
    for name in CLOCK_COLUMNS[1:]:
        healthy[name] = "Not Active"
    return healthy


def dcgm(*tests: dict[str, Any] | None) -> str:
    """Return an answer of `dcgmi diag -j` with one category."""
    category = {"category": "Hardware", "tests": list(tests)}
    return json.dumps({"DCGM Diagnostic": {"test_categories": [category]}, "metadata": {"version": "4.2.3"}})


def gpu_result(gpu: int, status: str, severity: int | None = None, text: str = "") -> dict[str, Any]:
    """Return the result of a test on a GPU, with a warning where there is one."""
    result: dict[str, Any] = {
        "entity_group": "GPU",
        "entity_group_id": 1,
        "entity_id": gpu,
        "status": status,
    }
    if severity is not None:
        result["warnings"] = [
            {"warning": text, "error_id": 1, "error_category": 10, "error_severity": severity}
        ]
    return result


def found(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the check and severity of each finding of a report."""
    return [
        (finding["check"], finding["severity"]) for probe in report["probes"] for finding in probe["findings"]
    ]


__all__ = ["CPU", "GPU", "NEURON", "HealthNode", "dcgm", "found", "gpu_result"]
