"""The driver: it joins the Ray cluster of the job, has Ray Train start the ranks, and ends with the run's exit code."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ray_trainer import refusal
from ray_trainer.options import Options, options
from ray_trainer.rank import run_rank
from training import errors
from training.errors import StoppedError, TrainingError
from training.process_group import collective_seconds
from training.run_folder import run_folder

ADDRESS, RANKS = "RAY_ADDRESS", "WORLD_SIZE"
"""Variables with the address of the cluster, and with the number of ranks."""

STORAGE = "ray"
"""Folder of what Ray Train itself writes, in the run's. Checkpoints are those of the workload fsdp."""

JOIN_SECONDS = 300
"""Seconds in which the driver must have joined the cluster. Our choice: nodes load Ray from a shared file system."""

SETTINGS = {
    # Ranks load torch from a file system that all nodes share: Ray's own minute may be too short.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",
    # A node that is drained is a failure like any other (RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S).
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # The launch guard has the run's metrics.
    "RAY_TRAIN_METRICS_ENABLED": "0",
}
"""Variables of Ray Train (ray 2.60, train/v2/_internal/constants.py); one that is set already stays."""

_NCCL = ("NCCL_DEBUG", "NCCL_DEBUG_SUBSYS", "NCCL_DEBUG_FILE")
"""Variables that the launch guard sets for the driver, by which it finds NCCL's network in the logs of all ranks."""


def main() -> None:
    """Train as the command line and the environment say.

    Raises:
        TrainingError: a variable is missing, ranks refused to train, or failed too often.
        StoppedError: a signal asked to stop, and the run has saved.
    """
    chosen = options()
    address, ranks = _cluster()
    folder = run_folder()
    refusal.forget(folder)
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    _join(address)
    code = _train(chosen, ranks, folder)
    refused = refusal.find(folder)
    if refused is not None:
        raise refused
    if code == errors.STOPPED:
        # Rank 0 has printed why.
        raise StoppedError


def _join(address: str) -> None:
    """Join the Ray cluster, whose head may answer some time before its node is registered."""
    import ray

    variables = {name: os.environ[name] for name in _NCCL if name in os.environ}
    deadline = time.monotonic() + JOIN_SECONDS
    while True:
        try:
            ray.init(address=address, runtime_env={"env_vars": variables})
            return
        except ConnectionError as error:
            if time.monotonic() >= deadline:
                raise TrainingError(
                    f"no node of the Ray cluster at {address} can be joined after {JOIN_SECONDS} seconds: {error}; "
                    "the log of the head tells why",
                    errors.FAULT,
                ) from error
            time.sleep(1)


def _train(chosen: Options, ranks: int, folder: Path) -> int:
    """Run all ranks until they are done, or have failed too often, and return rank 0's exit code."""
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig
    from ray_trainer.trainer import Trainer

    training = chosen.training
    gpus = training.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0
    each: dict[str, Any] = {"CPU": 1, **({"GPU": 1} if gpus else {})}
    trainer = Trainer(
        run_rank,
        train_loop_config=asdict(training),
        # As `training.process_group` makes its own.
        torch_config=TorchConfig(
            backend="cpu:gloo,cuda:nccl" if gpus else "gloo", timeout_s=collective_seconds()
        ),
        scaling_config=ScalingConfig(num_workers=ranks, use_gpu=gpus, resources_per_worker=each),
        run_config=RunConfig(
            name=STORAGE,
            storage_path=str(folder),
            failure_config=FailureConfig(max_failures=chosen.max_failures),
        ),
    )
    try:
        return int(trainer.fit().return_value or 0)
    except TrainingFailedError as error:
        refused = refusal.find(folder)
        if refused is not None:
            raise refused from error
        raise TrainingError(
            f"ranks failed more than --max-failures {chosen.max_failures} times: {error}", errors.FAULT
        ) from error


def _cluster() -> tuple[str, int]:
    """Return the address of the cluster and the number of ranks."""
    missing = [name for name in (ADDRESS, RANKS) if not os.environ.get(name)]
    if missing:
        raise TrainingError(
            f"variables {', '.join(missing)} are not set; launch the workload with 'trainforge launch ray-train', "
            "which starts a Ray cluster"
        )
    if not os.environ[RANKS].isdecimal() or int(os.environ[RANKS]) == 0:
        raise TrainingError(f"variable {RANKS} is '{os.environ[RANKS]}'; it must be a number of ranks from 1")
    return os.environ[ADDRESS], int(os.environ[RANKS])
