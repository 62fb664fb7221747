"""The exporter of a Slurm cluster, for Slurm without an OpenMetrics endpoint of its own (before 25.11).

Metrics named `slurm_` have the names and meanings of that endpoint, so that panels and alerts are the same for both.
With `--native` only those are exported that it lacks: GPUs, running jobs and their nodes.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import Metric

from ..records import Samples, read
from ..server import parser, positive, serve
from .commands import COMMANDS, answer, gpus, number

MAX_JOBS, MAX_JOB_NODES, MAX_USERS = 500, 5000, 50
"""Defaults: running jobs with series of their own, series of their nodes, users with series of their own."""

SHARED_SECONDS = 10
"""Default time for which scrapes share the answers of Slurm's commands: two collectors are not to double its load."""

OTHERS = "(others)"
"""The value of `username` for the users beyond the bound together: no user's name has parentheses."""

_JOB_STATES: Mapping[str, str] = {
    "PENDING": "pending",
    "RUNNING": "running",
    "SUSPENDED": "suspended",
    "COMPLETING": "completing",
    "CONFIGURING": "configuring",
    "COMPLETED": "completed",
    "CANCELLED": "cancelled",
    "FAILED": "failed",
    "NODE_FAIL": "node_failed",
    "TIMEOUT": "timeout",
    "OUT_OF_MEMORY": "outofmemory",
    "PREEMPTED": "preempted",
    "REQUEUED": "requeued",
}
_NODE_STATES: Mapping[str, str] = {
    "IDLE": "idle",
    "ALLOCATED": "alloc",
    "MIXED": "mixed",
    "DOWN": "down",
    "UNKNOWN": "unknown",
    "DRAIN": "drain",
    "FAIL": "fail",
    "MAINTENANCE": "maint",
    "NOT_RESPONDING": "noresp",
    "COMPLETING": "completing",
    "PLANNED": "planned",
    "RESERVED": "resv",
    "POWERED_DOWN": "powered_down",
    "REBOOT_ISSUED": "reboot_issued",
}
_BUSY = {"ALLOCATED", "MIXED", "COMPLETING"}
_UNAVAILABLE = {"DOWN", "UNKNOWN", "ERROR", "DRAIN", "FAIL", "NOT_RESPONDING", "INVALID_REG", "POWERED_DOWN"}
_NOT_EXPECTED = {"POWERED_DOWN", "POWERING_DOWN", "POWER_DOWN", "POWERING_UP", "POWER_UP", "FUTURE"}
"""States of a node that Slurm has switched off or has not started yet, so that nobody misses it."""

_STATISTICS: Mapping[str, str] = {
    "slurm_schedule_cycle_last": "schedule_cycle_last",
    "slurm_schedule_cycle_max": "schedule_cycle_max",
    "slurm_sched_mean_cycle": "schedule_cycle_mean",
    "slurm_schedule_cycle_cnt": "schedule_cycle_total",
    "slurm_schedule_queue_len": "schedule_queue_length",
    "slurm_bf_active": "bf_active",
    "slurm_bf_cycle_last": "bf_cycle_last",
    "slurm_bf_cycle_max": "bf_cycle_max",
    "slurm_bf_mean_cycle": "bf_cycle_mean",
    "slurm_bf_queue_len": "bf_queue_len",
    "slurm_bf_last_depth": "bf_last_depth",
    "slurm_backfilled_jobs": "bf_backfilled_jobs",
    "slurm_server_thread_cnt": "server_thread_count",
    "slurm_agent_queue_size": "agent_queue_size",
    "slurm_slurmdbd_queue_size": "dbd_agent_queue_size",
    "slurm_sdiag_jobs_submitted": "jobs_submitted",
    "slurm_sdiag_jobs_started": "jobs_started",
    "slurm_sdiag_jobs_completed": "jobs_completed",
    "slurm_sdiag_jobs_canceled": "jobs_canceled",
    "slurm_sdiag_jobs_failed": "jobs_failed",
}
"""Names of sdiag's statistics by metric."""


class SlurmExporter:
    """The metrics of the cluster that Slurm's commands talk to."""

    def __init__(
        self,
        *,
        native: bool = False,
        max_jobs: int = MAX_JOBS,
        max_job_nodes: int = MAX_JOB_NODES,
        max_users: int = MAX_USERS,
        shared_seconds: float = SHARED_SECONDS,
        ask: Callable[[str], Any] = answer,
    ) -> None:
        self._native = native
        self._max_jobs = max_jobs
        self._max_job_nodes = max_job_nodes
        self._max_users = max_users
        self._shared_seconds = shared_seconds
        self._ask = ask
        self._records = read("slurm")
        self._lock = threading.Lock()
        self._last: tuple[float, list[Metric]] = (float("-inf"), [])

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of one scrape."""
        with self._lock:
            if time.monotonic() - self._last[0] >= self._shared_seconds:
                self._last = (time.monotonic(), self._families())
            families = self._last[1]
        yield from families

    def _families(self) -> list[Metric]:
        begun = time.perf_counter()
        samples = Samples(self._records)
        names = [name for name in COMMANDS if not (self._native and name == "sdiag")]
        answers = {name: self._ask(name) for name in names}
        for name, found in answers.items():
            samples.add("trainforge_slurm_command_success", float(found is not None), (name,))
        if answers.get("squeue") is not None:
            self._add_jobs(samples, [job for job in answers["squeue"] if isinstance(job, dict)])
        if answers.get("nodes") is not None:
            self._add_nodes(samples, [node for node in answers["nodes"] if isinstance(node, dict)])
        for metric, key in _STATISTICS.items() if answers.get("sdiag") is not None else ():
            value = number(answers["sdiag"].get(key))
            if value is not None:
                samples.add(metric, value)
        samples.add("trainforge_slurm_scrape_seconds", time.perf_counter() - begun)
        return list(samples.families())

    def _add_jobs(self, samples: Samples, jobs: Sequence[Mapping[str, Any]]) -> None:
        if not self._native:
            self._add_queue(samples, jobs)
        now = time.time()
        oldest: dict[str, float] = {}
        for job in jobs:
            submitted = number(job.get("submit_time"))
            if "PENDING" in _states(job, "job_state") and not _held(job) and submitted is not None:
                partition = str(job.get("partition", ""))
                oldest[partition] = max(oldest.get(partition, 0.0), now - submitted)
        for partition, seconds in sorted(oldest.items()):
            samples.add("trainforge_slurm_oldest_pending_seconds", seconds, (partition,))
        running = [job for job in jobs if "RUNNING" in _states(job, "job_state")]
        # The oldest first: a job that has series keeps them until its end.
        running.sort(key=lambda job: (number(job.get("start_time")) or 0.0, number(job.get("job_id")) or 0.0))
        left = self._max_job_nodes
        for job in running[: self._max_jobs]:
            left -= self._add_running(samples, job, left)
        samples.add("trainforge_slurm_jobs_left_out", max(0, len(running) - self._max_jobs))

    def _add_queue(self, samples: Samples, jobs: Sequence[Mapping[str, Any]]) -> None:
        states: Counter[str] = Counter()
        partitions: dict[str, Counter[str]] = {}
        users: dict[str, Counter[str]] = {}
        for job in jobs:
            found = [_JOB_STATES[state] for state in _states(job, "job_state") if state in _JOB_STATES]
            found += ["hold"] if _held(job) and "pending" in found else []
            states.update(found)
            # A pending job may wait for one of several partitions.
            for partition in str(job.get("partition", "")).split(","):
                partitions.setdefault(partition, Counter()).update([*found, ""])
            users.setdefault(str(job.get("user_name", "")), Counter()).update(found)
        samples.add("slurm_jobs", len(jobs))
        for state in (*_JOB_STATES.values(), "hold"):
            samples.add(f"slurm_jobs_{state}", states[state])
        for partition, counts in sorted(partitions.items()):
            samples.add("slurm_partition_jobs", counts[""], (partition,))
            for state in ("pending", "running", "hold"):
                samples.add(f"slurm_partition_jobs_{state}", counts[state], (partition,))
        ordered = sorted(users.items(), key=lambda item: (-item[1]["running"] - item[1]["pending"], item[0]))
        others: Counter[str] = Counter()
        for _, counts in ordered[self._max_users :]:
            others.update(counts)
        named = ordered[: self._max_users] + ([(OTHERS, others)] if others else [])
        for user, counts in named:
            for state in ("pending", "running"):
                samples.add(f"slurm_user_jobs_{state}", counts[state], (user,))

    def _add_running(self, samples: Samples, job: Mapping[str, Any], max_nodes: int) -> int:
        """Add a running job with `max_nodes` of its nodes at most, and return how many were added."""
        label = str(job.get("job_id", ""))
        facts = (str(job.get(key, "")) for key in ("user_name", "partition", "name"))
        samples.add("trainforge_slurm_job_info", 1, (label, *facts))
        started = number(job.get("start_time"))
        if started is not None:
            samples.add("trainforge_slurm_job_start_timestamp_seconds", started, (label,))
        nodes = _nodes_of(job)
        samples.add("trainforge_slurm_job_nodes", number(job.get("node_count")) or len(nodes), (label,))
        details = job.get("gres_detail")
        count = sum(gpus(str(one)) for one in details) if isinstance(details, list) else 0
        samples.add("trainforge_slurm_job_gpus", count, (label,))
        for node in nodes[:max_nodes]:
            samples.add("trainforge_slurm_job_node", 1, (label, node))
        return min(len(nodes), max_nodes)

    def _add_nodes(self, samples: Samples, nodes: Sequence[Mapping[str, Any]]) -> None:
        total = allocated = unavailable = 0
        for node in nodes:
            name, states = str(node.get("name", "")), _states(node, "state")
            has, used = gpus(str(node.get("gres", ""))), gpus(str(node.get("gres_used", "")))
            if not states & _NOT_EXPECTED:
                samples.add("trainforge_slurm_node_expected", 1, (name,))
            if has:
                samples.add("trainforge_slurm_node_gpus", has, (name,))
                samples.add("trainforge_slurm_node_gpus_allocated", used, (name,))
            total, allocated = total + has, allocated + used
            unavailable += has - used if states & _UNAVAILABLE else 0
        samples.add("trainforge_slurm_gpus", total)
        samples.add("trainforge_slurm_gpus_allocated", allocated)
        samples.add("trainforge_slurm_gpus_unavailable", unavailable)
        if not self._native:
            self._add_node_states(samples, nodes)

    def _add_node_states(self, samples: Samples, nodes: Sequence[Mapping[str, Any]]) -> None:
        counts: Counter[str] = Counter()
        partitions: dict[str, Counter[str]] = {}
        for node in nodes:
            states = _states(node, "state")
            found = [_NODE_STATES[state] for state in states if state in _NODE_STATES]
            if "DRAIN" in states:
                found.append("draining" if states & _BUSY else "drained")
            counts.update(found)
            members = node.get("partitions")
            for partition in members if isinstance(members, list) else ():
                partitions.setdefault(str(partition), Counter()).update([*found, ""])
        samples.add("slurm_nodes", len(nodes))
        for state in (*_NODE_STATES.values(), "drained", "draining"):
            samples.add(f"slurm_nodes_{state}", counts[state])
        for partition, of_partition in sorted(partitions.items()):
            samples.add("slurm_partition_nodes", of_partition[""], (partition,))
            for state in ("idle", "alloc", "mixed", "down", "drain"):
                samples.add(f"slurm_partition_nodes_{state}", of_partition[state], (partition,))


def _states(record: Mapping[str, Any], key: str) -> set[str]:
    found = record.get(key)
    return {str(state) for state in found} if isinstance(found, list) else set()


def _held(job: Mapping[str, Any]) -> bool:
    """Return whether a job is held by its user or an administrator: its priority is 0."""
    return bool(job.get("hold")) or number(job.get("priority")) == 0


def _nodes_of(job: Mapping[str, Any]) -> list[str]:
    """Return the names of a running job's nodes."""
    resources = job.get("job_resources")
    nodes = resources.get("nodes") if isinstance(resources, dict) else None
    allocation = nodes.get("allocation") if isinstance(nodes, dict) else None
    return [str(one["name"]) for one in allocation if "name" in one] if isinstance(allocation, list) else []


def main(words: Sequence[str]) -> int:
    """Run the exporter with these words of a command line, and return its exit code."""
    options = parser("export the queues, nodes and running jobs of a Slurm cluster")
    options.add_argument(
        "--native", action="store_true", help="export only what Slurm's own endpoint (from 25.11) lacks"
    )
    options.add_argument("--max-jobs", type=positive, default=MAX_JOBS, help="running jobs with own series")
    options.add_argument(
        "--max-job-nodes", type=positive, default=MAX_JOB_NODES, help="series of jobs' nodes"
    )
    options.add_argument("--max-users", type=positive, default=MAX_USERS, help="users with own series")
    options.add_argument(
        "--shared-seconds",
        type=positive,
        default=SHARED_SECONDS,
        help="for how long scrapes share the answers of Slurm's commands",
    )
    found = options.parse_args(list(words))
    exporter = SlurmExporter(
        native=found.native,
        max_jobs=found.max_jobs,
        max_job_nodes=found.max_job_nodes,
        max_users=found.max_users,
        shared_seconds=found.shared_seconds,
    )
    return serve(found, exporter.collect)
