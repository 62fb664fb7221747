"""The grace period of a run: the time that it needs to save and stop after a signal, and the time that it gets."""

from __future__ import annotations

from catalog.cluster_info import ClusterInfo
from catalog.kubernetes import GRACE_SECONDS
from catalog.storage import LUSTRE_MIN_GIB, LUSTRE_THROUGHPUTS, lustre_mbps
from workloads.spec import Run

SETTLE_SECONDS = 30
"""Seconds to end the step under way, to agree on it over all ranks, and to leave: our choice."""

WRITES = 2
"""Checkpoints that are written between the signal and the end: the one that may be under way, and that of the last
step, which waits for it (`training.distributed_checkpoint`)."""

MIN_MBPS = lustre_mbps(LUSTRE_MIN_GIB, min(LUSTRE_THROUGHPUTS["PERSISTENT_2"]))
"""The write speed in MB/s of the slowest Lustre file system that we make: used where the real one is unknown."""

_MEGABYTE = 1_000_000


def save_seconds(run: Run, info: ClusterInfo) -> int:
    """Return how long a run takes from the signal until its last checkpoint is written.

    The bytes are those of the workload's footprint (weights and optimizer, all ranks together), the speed is that of
    the whole file system, without bursts: all ranks write at once, and together they are as fast as it is.
    Not counted, for no figures are known: the digests of the files, and other runs that write at the same time.
    """
    needed = run.footprint
    size = needed.checkpoint if needed else 0
    speed = info.throughput_mbps or MIN_MBPS
    return SETTLE_SECONDS + -(-WRITES * size // (speed * _MEGABYTE))


def grace_seconds(run: Run, info: ClusterInfo) -> int:
    """Return the time from SIGTERM to SIGKILL that a run is given: the first of GRACE_SECONDS that a save fits in.

    A run whose save takes longer than the last of them gets that one, and may have to resume from the checkpoint
    before.
    """
    needed = save_seconds(run, info)
    return next((seconds for seconds in GRACE_SECONDS if seconds >= needed), GRACE_SECONDS[-1])
