"""The configuration files of a Slurm in one folder, on loopback only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.ports import LOOPBACK, free_ports

_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random")
"""Devices that stand for GPUs: Slurm ignores GPUs without files, and wants these to be devices."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node with a slurmd of its own: its Slurm name, its loopback address, and its port."""

    name: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The parts of a cluster: nodes, and which of them each partition holds."""

    controller_port: int
    nodes: tuple[Node, ...]
    partitions: Mapping[str, tuple[str, ...]]
    cpus: int
    memory_mib: int
    sockets: Path
    gpus: int = 0

    @classmethod
    def of(
        cls,
        partitions: Mapping[str, Sequence[str]],
        *,
        cpus: int,
        memory_mib: int,
        sockets: Path,
        gpus: int = 0,
    ) -> Layout:
        """Return the layout of partitions with the names of their nodes, on free ports.

        A node may be in several partitions. It has `gpus` GPUs, which Slurm counts and nothing opens. `sockets` is the
        folder of munged's socket and of those that steps make in their node's spool folder. Its path must be short:
        Linux takes 107 characters for a socket's.
        """
        names = list(dict.fromkeys(name for nodes in partitions.values() for name in nodes))
        controller, *ports = free_ports(len(names) + 1)
        return cls(
            controller_port=controller,
            nodes=tuple(
                Node(name, f"127.0.0.{number}", port)
                for number, (name, port) in enumerate(zip(names, ports, strict=True), start=2)
            ),
            partitions={partition: tuple(nodes) for partition, nodes in partitions.items()},
            cpus=cpus,
            memory_mib=memory_mib,
            sockets=sockets,
            gpus=gpus,
        )

    @property
    def token_socket(self) -> Path:
        """The socket of this cluster's munged."""
        return self.sockets / "munge"

    def spool(self, node: str) -> Path:
        """The folder in which a node's slurmd keeps its state."""
        return self.sockets / "spool" / node

    def write(self, folder: Path, user: str, settings: Mapping[str, str]) -> None:
        """Write slurm.conf and cgroup.conf into `folder`; `settings` replace what is here."""
        lines = [f"{key}={value}" for key, value in {**self._settings(folder, user), **settings}.items()]
        lines += [self._node(node) for node in self.nodes]
        lines += [
            f"PartitionName={name} Nodes={','.join(nodes)} Default={'YES' if first else 'NO'} State=UP"
            for first, (name, nodes) in (
                (index == 0, item) for index, item in enumerate(self.partitions.items())
            )
        ]
        (folder / "slurm.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
        # Without it slurmd looks for a cgroup mount that a container does not have.
        (folder / "cgroup.conf").write_text("CgroupPlugin=disabled\n", encoding="utf-8")
        if self.gpus:
            lines = [f"Name=gpu File={file}" for file in _DEVICES[: self.gpus]]
            (folder / "gres.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _settings(self, folder: Path, user: str) -> dict[str, str]:
        return {
            "ClusterName": "trainforge",
            "SlurmctldHost": f"localhost({LOOPBACK})",
            "SlurmctldPort": str(self.controller_port),
            # Not auth/slurm: its clients ask at one socket a machine, below /run, where root alone writes.
            "AuthType": "auth/munge",
            "AuthInfo": f"socket={self.token_socket}",
            "CredType": "cred/munge",
            "SlurmUser": user,
            "SlurmdUser": user,
            "StateSaveLocation": str(folder / "state"),
            "SlurmdSpoolDir": str(self.spool("%n")),
            # Two nodes of one machine would make, and remove, the same folder of a step in /tmp.
            "TmpFS": str(self.spool("%n")),
            "SlurmctldPidFile": str(folder / "slurmctld.pid"),
            "SlurmdPidFile": str(folder / "slurmd-%n.pid"),
            "SlurmctldLogFile": str(folder / "logs" / "slurmctld.log"),
            "SlurmdLogFile": str(folder / "logs" / "slurmd-%n.log"),
            "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/none",
            "JobAcctGatherType": "jobacct_gather/none",
            "SelectType": "select/cons_tres",
            # Sizes of nodes are made up; the machine's own count for nothing.
            "SelectTypeParameters": "CR_CPU",
            "SlurmdParameters": "config_overrides",
            "MpiDefault": "none",
            # 2 brings a node that was set down back at once; with 1 it stays down.
            "ReturnToService": "2",
            "SlurmdTimeout": "30",
            "InactiveLimit": "0",
            "KillWait": "2",
            "MinJobAge": "300",
            "SchedulerParameters": "sched_interval=1,sched_min_interval=0,bf_interval=1",
            **({"GresTypes": "gpu"} if self.gpus else {}),
        }

    def _node(self, node: Node) -> str:
        return (
            f"NodeName={node.name} NodeHostname=localhost NodeAddr={node.address} Port={node.port} "
            f"CPUs={self.cpus} RealMemory={self.memory_mib} State=UNKNOWN"
            + (f" Gres=gpu:{self.gpus}" if self.gpus else "")
        )
