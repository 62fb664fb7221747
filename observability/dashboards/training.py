"""The dashboard of a run: speed, loss, ranks, and what its time was spent on."""

from __future__ import annotations

from typing import Final

from observability.dashboards.model import (
    BAD_BELOW_HALF,
    CLUSTERS,
    OF_RUN,
    ONE_CLUSTER,
    ONE_RUN,
    Board,
    Panel,
    Query,
    Row,
    number,
    query,
)

_STEP_SECONDS = f"trainforge_rank_step_seconds{{{OF_RUN}}}"
_RANK = "rank {{rank}} on {{node}}"


def _last(name: str) -> str:
    return f"max(trainforge_progress_{name}{{{OF_RUN}}})"


TRAINING: Final = Board(
    uid="trainforge-training",
    title="Training",
    about="One run: its speed, its loss, its slow ranks, and where its time went.",
    variables=(ONE_CLUSTER, ONE_RUN),
    rows=(
        Row(
            title="Now",
            panels=(
                number("Step", _last("step"), "Steps done.", unit="none"),
                number("Loss", _last("loss"), "Last loss."),
                number(
                    "Tokens a second",
                    _last("tokens_per_second"),
                    "Over all ranks; the last value, which stays while a run hangs or waits.",
                ),
                number(
                    "MFU",
                    _last("mfu"),
                    "Share of the accelerators' peak that the model used.",
                    unit="percentunit",
                ),
                number(
                    "Goodput",
                    f"max(run:goodput:ratio{{{OF_RUN}}})",
                    "Share of the time since the first start that advanced the model.",
                    unit="percentunit",
                    steps=BAD_BELOW_HALF,
                ),
                number(
                    "Starts",
                    f"max(trainforge_run_starts_total{{{OF_RUN}}})",
                    "Starts of the run, the first included.",
                ),
            ),
        ),
        Row(
            title="Progress",
            panels=(
                Panel(
                    title="Loss",
                    queries=query(_last("loss"), "loss"),
                    about="A gap is a value that is not a number.",
                ),
                Panel(
                    title="Tokens a second",
                    queries=query(_last("tokens_per_second"), "tokens a second"),
                    about="Over all ranks. The last value stays while a run hangs or waits.",
                    minimum=0,
                ),
                Panel(
                    title="MFU",
                    queries=query(_last("mfu"), "MFU"),
                    about="Share of the peak of the accelerators.",
                    unit="percentunit",
                    minimum=0,
                ),
                Panel(
                    title="Gradient norm",
                    queries=query(_last("gradient_norm"), "norm"),
                    about="Peaks come before a loss that is not finite. Programs that print none have no line.",
                    minimum=0,
                ),
            ),
        ),
        Row(
            title="Ranks",
            panels=(
                Panel(
                    title="Step time by rank",
                    queries=(
                        Query(expr=f"max({_STEP_SECONDS})", legend="slowest rank"),
                        Query(expr=f"quantile(0.9, {_STEP_SECONDS})", legend="90th percentile"),
                        Query(expr=f"quantile(0.5, {_STEP_SECONDS})", legend="median"),
                        Query(expr=f"min({_STEP_SECONDS})", legend="fastest rank"),
                    ),
                    about="Over all ranks. In a synchronous run all wait for the slowest.",
                    unit="s",
                    minimum=0,
                ),
                Panel(
                    title="Slowest ranks",
                    queries=query(
                        f"topk(10, max by (node, rank) (avg_over_time(trainforge_rank_work_seconds{{{OF_RUN}}}[10m]))"
                        f" / scalar(max(run:rank_work_seconds:median{{{OF_RUN}}})))",
                        _RANK,
                    ),
                    about=(
                        "Time in a step in which the rank waits for no other, as a multiple of the median rank's. "
                        "Empty where the program does not measure it."
                    ),
                    kind="bars",
                    minimum=0,
                    decimals=2,
                ),
                Panel(
                    title="Steps by rank",
                    queries=query(
                        f"bottomk(10, max by (node, rank) (trainforge_rank_steps_total{{{OF_RUN}}}))", _RANK
                    ),
                    about="Ranks with the fewest steps in this start. In a stall: the one that others wait for.",
                    kind="bars",
                    unit="none",
                    minimum=0,
                ),
                Panel(
                    title="Utilization of the run's nodes",
                    queries=query(
                        "bottomk(10, max by (node) (node:accelerator_utilization:avg"
                        f"{{{CLUSTERS}}} and on (cluster, node) trainforge_rank_beat_timestamp_seconds{{{OF_RUN}}}))",
                        "{{node}}",
                    ),
                    about="The ten nodes with the lowest.",
                    unit="percentunit",
                    minimum=0,
                    maximum=1,
                ),
            ),
        ),
        Row(
            title="Goodput",
            panels=(
                Panel(
                    title="Goodput",
                    queries=(
                        Query(expr=f"max(run:goodput:ratio_rate1h{{{OF_RUN}}})", legend="last hour"),
                        Query(expr=f"max(run:goodput:ratio{{{OF_RUN}}})", legend="since the first start"),
                    ),
                    about="Share of time that advanced the model: steps that no start had done before.",
                    unit="percentunit",
                    minimum=0,
                    maximum=1,
                ),
                Panel(
                    title="Time by activity",
                    queries=query(
                        "sum by (activity) (rate(trainforge_run_seconds_total"
                        f"{{{OF_RUN}}}[10m])) / scalar(sum(rate(trainforge_run_seconds_total{{{OF_RUN}}}[10m])))",
                        "{{activity}}",
                    ),
                    about=(
                        "advance: new steps. Lost: repeat (steps done again after a restart), start (until the first "
                        "step), checkpoint, wait (between starts), stall, other."
                    ),
                    unit="percentunit",
                    stacked=True,
                    minimum=0,
                    maximum=1,
                ),
                Panel(
                    title="Time of the run",
                    queries=query(
                        f"sort_desc(sum by (activity) (trainforge_run_seconds_total{{{OF_RUN}}}))",
                        "{{activity}}",
                    ),
                    about="Seconds since the first start, by activity.",
                    kind="bars",
                    unit="s",
                    width=24,
                    height=7,
                ),
            ),
        ),
    ),
)
