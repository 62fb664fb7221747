"""Alerts on runs: stalled, lost, not finite, silent on a node, restarted too often, slow ranks, low goodput.

Goodput is the share of a run's time that advanced the model: steps that no start of the run had done before.
"""

from __future__ import annotations

from typing import Final

from observability.alerts.rules import Alert, Group, Record, by, place

RUN: Final = ("cluster", "run", "workload")
STALL_SECONDS: Final = 900
"""For how long a stall that the launch guard has ended is an alert."""

_RUN = by(*RUN)
_SUM = by(*RUN, operator="sum")
_OF_RUN = place(cluster="on cluster", run="run", workload="workload")
_SILENCE = f"time() - {_RUN} (trainforge_rank_beat_timestamp_seconds)"
_ALIVE = f"{_SILENCE} < 120"
_BEAT = f"{by(*RUN, 'node')} (trainforge_rank_beat_timestamp_seconds)"
_ON_RUN = f"on ({', '.join(RUN)})"

RECORDS: Final = Group(
    name="runs-recorded",
    rules=(
        Record(
            name="run:activity:share",
            expr=(
                f"{by(*RUN, 'activity', operator='sum')} (trainforge_run_seconds_total) / on ({', '.join(RUN)})"
                f" group_left () ({_SUM} (trainforge_run_seconds_total) > 0)"
            ),
            help="Share of a run's time since its first start, by activity.",
        ),
        Record(
            name="run:goodput:ratio",
            expr=f'{_RUN} (run:activity:share{{activity="advance"}})',
            help="Share of a run's time since its first start that advanced the model.",
        ),
        Record(
            name="run:goodput:ratio_rate1h",
            expr=(
                f'{_SUM} (rate(trainforge_run_seconds_total{{activity="advance"}}[1h])) / '
                f"({_SUM} (rate(trainforge_run_seconds_total[1h])) > 0)"
            ),
            help="Share of a run's last hour that advanced the model.",
        ),
        Record(
            name="run:rank_work_seconds:median",
            expr=f"quantile by ({', '.join(RUN)}) (0.5, trainforge_rank_work_seconds)",
            help="Median of a run's ranks of the time in a step in which a rank waits for no other.",
        ),
        Record(
            name="run:loss:finite",
            # NaN differs from itself, and no aggregation hides it here: max leaves NaN out.
            expr=(
                f"{by(*RUN, operator='min')} ((trainforge_progress_loss == bool trainforge_progress_loss)"
                " * (abs(trainforge_progress_loss) < bool Inf))"
            ),
            help="1 if the last loss is a finite number, else 0.",
        ),
    ),
)

ALERTS: Final = Group(
    name="runs",
    rules=(
        Alert(
            name="RunStalled",
            # All are the guard's own: it knows the heartbeats of all ranks, the phase, and when this start began. Where
            # it ends the run, the next start may follow between two scrapes: the stall itself counts for a while.
            expr=(
                f"{_RUN} (trainforge_run_quiet_seconds) > {_RUN} (trainforge_run_quiet_limit_seconds)"
                f" or time() - {_RUN} (trainforge_run_stall_timestamp_seconds) < {STALL_SECONDS}"
            ),
            severity="critical",
            hold="0s",
            labels=RUN,
            summary=f"No progress for longer than the launch guard allows, which ends the run, {_OF_RUN}.",
            page="run-stalled",
        ),
        Alert(
            name="RunNodeSilent",
            expr=(
                # A node that has not come in this start has left what it wrote in the one before.
                f"time() - ({_BEAT} > {_ON_RUN} group_left () {_RUN} (trainforge_run_attempt_timestamp_seconds))"
                f" > 300 and {_ON_RUN} ({_ALIVE})"
            ),
            severity="critical",
            hold="1m",
            labels=(*RUN, "node"),
            summary=(
                "A node of the run has not written for {{ $value | humanizeDuration }} "
                f"{_OF_RUN}, node {{{{ $labels.node }}}}."
            ),
            page="run-stalled",
        ),
        Alert(
            name="RunLost",
            # A guard that ends says so, and one that is killed with its node cannot.
            expr=f"{_SILENCE} > 300 and {_ON_RUN} ({_RUN} (trainforge_run_ended) == 0)",
            severity="critical",
            hold="1m",
            labels=RUN,
            summary=f"No node of the run has written for {{{{ $value | humanizeDuration }}}} {_OF_RUN}.",
            page="run-stalled",
        ),
        Alert(
            name="LossNotFinite",
            expr="run:loss:finite == 0",
            severity="critical",
            hold="0s",
            labels=RUN,
            summary=f"The loss is not a finite number {_OF_RUN}.",
            page="loss-not-finite",
        ),
        Alert(
            name="RunRestartsOften",
            expr=f"{_RUN} (increase(trainforge_run_starts_total[1h])) > 3",
            severity="warning",
            hold="0s",
            labels=RUN,
            summary=f"{{{{ $value | humanize }}}} starts in an hour {_OF_RUN}.",
            page="run-restarts-often",
        ),
        Alert(
            name="GoodputLow",
            # A run that began, or came back from the queue, less than an hour ago has no such hour yet.
            expr="run:goodput:ratio_rate1h < 0.7 and run:goodput:ratio offset 1h",
            severity="warning",
            hold="30m",
            labels=RUN,
            summary=(
                f"Only {{{{ $value | humanizePercentage }}}} of the last hour advanced the model {_OF_RUN}."
            ),
            page="goodput-low",
        ),
        Alert(
            name="SlowRank",
            expr=(
                # The whole step takes equally long on all ranks, which wait for the slowest. Compared first: an
                # aggregation of all ranks would cost more than the comparison.
                f"{by(*RUN, 'node', 'rank')} (avg_over_time(trainforge_rank_work_seconds[10m])"
                f" / on ({', '.join(RUN)}) group_left () run:rank_work_seconds:median > 1.2)"
            ),
            severity="info",
            hold="15m",
            labels=(*RUN, "node", "rank"),
            summary=(
                "A rank works {{ $value | humanize }} times as long in a step as the median rank "
                f"{_OF_RUN}, node {{{{ $labels.node }}}}, rank {{{{ $labels.rank }}}}."
            ),
            page="slow-rank",
        ),
    ),
)
