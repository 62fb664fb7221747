"""Slurm: the line of slurm.conf for a node of an instance type, and where slurmctld serves metrics."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.instance_facts import InstanceFacts


@dataclass(frozen=True, slots=True)
class SlurmTopology:
    """The processors of a node in Slurm's terms.

    `sockets` and `cores_per_socket` are None if no source states the number of sockets; then only `cpus`
    is known.
    """

    cpus: int
    sockets: int | None
    cores_per_socket: int | None
    threads_per_core: int

    def parameters(self) -> dict[str, str]:
        """Return the node parameters of slurm.conf, in its spelling.

        Without sockets it is `CPUs` alone: slurmd compares slurm.conf with the hardware, so a
        guess would be worse than nothing.
        """
        if self.sockets is None:
            return {"CPUs": str(self.cpus)}
        return {
            "CPUs": str(self.cpus),
            "Sockets": str(self.sockets),
            "CoresPerSocket": str(self.cores_per_socket),
            "ThreadsPerCore": str(self.threads_per_core),
        }


def slurm_topology(instance: InstanceFacts, threads_per_core: int | None = None) -> SlurmTopology:
    """Return the processors of a node, with EC2's own threads per core or with `threads_per_core`.

    Raises:
        ValueError: the instance type cannot run with so many threads per core.
    """
    threads = instance.threads_per_core if threads_per_core is None else threads_per_core
    allowed = instance.valid_threads_per_core or (instance.threads_per_core,)
    # Where EC2 lists no choice (several AMD and bare-metal types), one thread can still be had by switching
    # the others off in the operating system, which HyperPod's and Slurm's own settings do.
    if threads not in {*allowed, 1}:
        choice = " or ".join(str(number) for number in sorted({*allowed, 1}))
        raise ValueError(
            f"instance type '{instance.name}': {threads} threads per core is not possible (allowed: {choice})"
        )
    sockets = instance.sockets
    return SlurmTopology(
        cpus=instance.cores * threads,
        sockets=sockets,
        cores_per_socket=None if sockets is None else instance.cores // sockets,
        threads_per_core=threads,
    )
