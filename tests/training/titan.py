"""A program for torchrun in torchtitan's own environment: how fast torchtitan trains one of its models.

Run by tests/bench/training.py, which reads the JSON that it writes. Written against torchtitan 0.3.0. The model, its
attention, its loss and its loop are torchtitan's defaults; sequences, batch and compilation are those of our trainer
beside it, activations are recomputed by each one's own selection, and tokens are random, one document a sequence:
neither a data set nor a tokenizer is fetched. Our own modules are not imported, its environment lacks what they need.

torchtitan knows no processors. With `--device cpu`, which shows that this works and measures nothing, torch gets
functions of processors, and attention is torch's plain one: FlexAttention has no backward pass there.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.fsdp import FSDPModule

_WARM_UP_STEPS = 5

Batch = tuple[dict[str, torch.Tensor], torch.Tensor]


def use_processors() -> None:
    """Let torchtitan take processors for a device; before it is imported."""
    functions: dict[str, Any] = {
        "get_device_name": lambda *_: "processor",
        "get_device_properties": lambda *_: SimpleNamespace(total_memory=1),
        "memory_stats": lambda *_: {},
        "reset_peak_memory_stats": lambda *_: None,
        "empty_cache": lambda *_: None,
    }
    for name, function in functions.items():
        setattr(torch.cpu, name, function)
    device: Any = importlib.import_module("torch._utils")
    device._get_available_device_type = lambda: "cpu"
    device._get_device_module = lambda _: torch.cpu


def trainer(chosen: argparse.Namespace, folder: str) -> Any:
    """Return torchtitan's trainer of the model, with all that it needs."""
    llama3: Any = importlib.import_module("torchtitan.models.llama3")
    presets: Any = importlib.import_module("torchtitan.models.llama3.config_registry")
    model = llama3.model_registry(chosen.flavor)
    if chosen.device == "cpu":
        attention: Any = importlib.import_module("torchtitan.models.common.attention")
        for layer in model.model.layers:
            layer.attention.inner_attention = attention.ScaledDotProductAttention.Config()
    nothing = SimpleNamespace(build=lambda **_: None)
    configuration = presets.llama3_8b()
    configuration.model_spec = model
    configuration.loss.loss_fn.global_vocab_size = model.model.vocab_size
    configuration.dump_folder = folder
    configuration.tokenizer = nothing
    configuration.dataloader = nothing
    configuration.training.local_batch_size = chosen.micro_batch
    configuration.training.global_batch_size = chosen.global_batch
    configuration.training.seq_len = chosen.sequence_length
    configuration.training.disable_cuda_graphs = chosen.device == "cpu"
    configuration.compile.enable = chosen.compile
    # Its default wants an FSDP that torch 2.13 has not yet; for data-parallel ranks alone this one is the same.
    configuration.parallelism.spmd_backend = "partial_dtensor"
    configuration.metrics.enable_tensorboard = False
    # It logs the first step and none after it, which would make all ranks wait.
    configuration.metrics.log_freq = 10**9
    configuration.profiler.enable_profiling = False
    configuration.checkpoint.enable = False
    configuration.validator.enable = False
    built = configuration.build()
    if chosen.device == "cpu":
        # gloo cannot divide while it sums.
        for module in built.model_parts[0].modules():
            if isinstance(module, FSDPModule):
                module.set_force_sum_reduction_for_comms(True)
    return built


def tokens(vocabulary: int, batch: int, length: int) -> Iterator[Batch]:
    """Yield batches without end: what the tokens are does not change how long a step takes."""
    generator = torch.Generator().manual_seed(dist.get_rank())
    positions = torch.arange(length).repeat(batch, 1)
    while True:
        drawn = torch.randint(vocabulary, (batch, length + 1), generator=generator)
        yield {"input": drawn[:, :-1].clone(), "positions": positions.clone()}, drawn[:, 1:].clone()


def measured(chosen: argparse.Namespace, folder: str) -> dict[str, Any]:
    """Return tokens a second over all ranks, by the median of blocks of steps, and the most memory of a rank's GPU."""
    titan = trainer(chosen, folder)
    gpu = titan.device.type == "cuda"
    length = chosen.sequence_length
    batches = titan.batch_generator(tokens(titan.model_config.vocab_size, chosen.micro_batch, length))

    def block(steps: int) -> float:
        _together(gpu)
        begun = time.perf_counter()
        for _ in range(steps):
            titan.step += 1
            titan.train_step(batches)
        _together(gpu)
        return time.perf_counter() - begun

    block(_WARM_UP_STEPS)
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    seconds = statistics.median(block(chosen.block_steps) for _ in range(chosen.blocks)) / chosen.block_steps
    return {
        "tokens_per_second": chosen.global_batch * length / seconds,
        "memory_gib": torch.cuda.max_memory_allocated() / 2**30 if gpu else None,
        "parameters": sum(parameter.numel() for part in titan.model_parts for parameter in part.parameters()),
        "version": importlib.import_module("importlib.metadata").version("torchtitan"),
    }


def _together(gpu: bool) -> None:
    if gpu:
        torch.cuda.synchronize()
    dist.barrier()


def main() -> None:
    """Measure the run of the command line and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("file", type=Path)
    add("--flavor", required=True)
    add("--device", choices=["cuda", "cpu"], default="cuda")
    add("--sequence-length", type=int, required=True)
    add("--global-batch", type=int, required=True)
    add("--micro-batch", type=int, required=True)
    add("--compile", action="store_true")
    add("--blocks", type=int, default=30)
    add("--block-steps", type=int, default=5)
    chosen = parser.parse_args()
    if chosen.device == "cpu":
        use_processors()
    with tempfile.TemporaryDirectory() as folder:
        found = measured(chosen, folder)
        if dist.get_rank() == 0:
            chosen.file.write_text(json.dumps(found), encoding="utf-8")
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
