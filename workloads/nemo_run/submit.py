"""Run train.py by NeMo-Run's own executors, for who works with them; `trainforge launch` does not need this file.

    submit.py local --ranks=2 --shared=FOLDER -- trainer.max_steps=20
    submit.py slurm --nodes=4 --partition=gpu --image=/fsx/nemo-run.sqsh --shared=/fsx --dry-run -- --recipe=llama31_8b

Words after `--` are those of train.py. With `--fault-tolerance` ft_launcher of nvidia-resiliency-ext starts the ranks:
it restarts them in the job and watches their heartbeats.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RUNTIME = Path(__file__).resolve().parent.parent / "runtime"
"""The shared modules in a checkout, where this file runs: no launch has put them on PYTHONPATH."""

sys.path.append(str(RUNTIME))

import nemo_options  # noqa: E402

PROGRAM = "/opt/trainforge/workload/train.py"
"""The program in the image."""

HYPERPOD = Path("/opt/ml/config/resource_config.json")
"""A file that nodes of HyperPod have, where Slurm's option --auto-resume is known."""


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="submit.py", description="Run train.py by NeMo-Run.", allow_abbrev=False
    )
    kinds = parser.add_subparsers(dest="executor", required=True)
    local = kinds.add_parser("local", help="on this machine", allow_abbrev=False)
    slurm = kinds.add_parser("slurm", help="by sbatch, from a node of the cluster", allow_abbrev=False)
    for kind in (local, slurm):
        add = kind.add_argument
        add("--ranks", type=int, default=8, help="ranks of a node")
        add("--shared", required=True, help="a folder that all nodes see")
        add("--run-id", default="1", help="the run's name; the same one resumes it")
        add("--dry-run", action="store_true", help="show what would run")
        add("program", nargs="*", metavar="-- WORD", help="words of train.py")
    add = slurm.add_argument
    add("--nodes", type=int, default=1, help="number of nodes")
    add("--partition", required=True, help="Slurm's partition")
    add("--account", default="default", help="Slurm's account")
    add("--image", required=True, help="the workload's image, as pyxis takes it")
    add("--time", default="01:00:00", help="Slurm's time limit")
    add("--fault-tolerance", action="store_true", help="start the ranks by ft_launcher")
    add("--restarts", type=int, default=3, help="with --fault-tolerance: restarts of the ranks in a job")
    add("--retries", type=int, default=2, help="with --fault-tolerance: restarts of the job")
    add(
        "--auto-resume",
        action=argparse.BooleanOptionalAction,
        default=HYPERPOD.exists(),
        help="HyperPod's: replace a faulty node and start the step again; default: where the machine is HyperPod's",
    )
    arguments = parser.parse_args(words)
    nemo_options.options(arguments.program)
    return arguments


def _executor(arguments: argparse.Namespace, run: Any) -> Any:
    """Return the executor of NeMo-Run that a command line describes."""
    folder = f"{arguments.shared}/runs/nemo-run/{arguments.run_id}"
    if arguments.executor == "local":
        path = os.pathsep.join(filter(None, (str(RUNTIME), os.environ.get("PYTHONPATH", ""))))
        place = {"RUN_FOLDER": folder, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
        return run.LocalExecutor(ntasks_per_node=arguments.ranks, launcher="torchrun", env_vars=place)
    executor = run.SlurmExecutor(
        account=arguments.account,
        partition=arguments.partition,
        nodes=arguments.nodes,
        ntasks_per_node=arguments.ranks,
        gpus_per_node=arguments.ranks,
        exclusive=True,
        mem="0",
        time=arguments.time,
        # NeMo's callback saves at this signal.
        signal="TERM@120",
        container_image=arguments.image,
        container_mounts=[f"{arguments.shared}:{arguments.shared}"],
        srun_args=["--auto-resume=1"] if arguments.auto_resume else None,
        tunnel=run.LocalTunnel(job_dir=f"{arguments.shared}/nemo-run-jobs"),
        # The program is in the image: nothing is packed, so no repository is needed.
        packager=run.Packager(),
        env_vars={"RUN_FOLDER": folder, "TORCH_NCCL_AVOID_RECORD_STREAMS": "1", "FI_EFA_USE_HUGE_PAGE": "0"},
    )
    executor.launcher = run.Torchrun()
    if arguments.fault_tolerance:
        executor.launcher = run.FaultTolerance(
            max_restarts=arguments.restarts, initial_rank_heartbeat_timeout=1800, rank_heartbeat_timeout=900
        )
        executor.retries = arguments.retries
    return executor


def main() -> None:
    """Submit, or show what would be submitted."""
    arguments = options()
    import nemo_run as run

    words = [*arguments.program, *(["--heartbeats"] if getattr(arguments, "fault_tolerance", False) else [])]
    path = str(Path(__file__).with_name("train.py")) if arguments.executor == "local" else PROGRAM
    task = run.Script(path=path, args=words, entrypoint="python")
    executor = _executor(arguments, run)
    with run.Experiment(
        "nemo-run", executor=executor, base_dir=f"{arguments.shared}/nemo-run-experiments"
    ) as experiment:
        experiment.add(task, executor=executor, name="training", tail_logs=arguments.executor == "local")
        if arguments.dry_run:
            experiment.dryrun()
            return
        experiment.run(detach=arguments.executor == "slurm")
        ends = experiment.status(return_dict=True) if arguments.executor == "local" else {}
    # NeMo-Run may call the end of a local task UNKNOWN.
    sys.exit(any(str(end["status"]) in ("FAILED", "CANCELLED") for end in ends.values()))


if __name__ == "__main__":
    main()
