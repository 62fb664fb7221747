"""The options of the launch file: its own, and those of the program of NxD that it starts.

NxD's program for 70B ignores options that it does not know, so a wrong name would train something else: here it is
an error. The names are those of the sources at the commit of `nxd_launch/options.json`. Imports no torch: the command
reads a run's options here too, before anything starts.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.arguments import positive

_EXAMPLES = "examples/training/llama"
CONVERTER = "src/neuronx_distributed/scripts/checkpoint_converter.py"
"""The file with the options of NxD's converter of checkpoints."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model: NxD's program for it, the folder of its configuration, and the names that the program's options have.

    `hub` is the model on the Hugging Face hub whose weights the stage `convert` takes. `variables` are those of NxD's
    script: graphs depend on some, so the stage `compile` has them too.
    """

    program: str
    configuration: str
    layers: int
    hub: str = ""
    pipelined: bool = False
    variables: tuple[tuple[str, str], ...] = ()


MODELS = {
    "llama3-8b": Model(
        f"{_EXAMPLES}/tp_zero1_llama_hf_pretrain/tp_zero1_llama_hf_pretrain.py",
        f"{_EXAMPLES}/tp_zero1_llama_hf_pretrain/8B_config_llama3",
        32,
        "meta-llama/Meta-Llama-3-8B",
        variables=(("NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS", "3"),),
    ),
    "llama3-70b": Model(
        f"{_EXAMPLES}/tp_pp_llama_hf_pretrain/run_llama_nxd.py",
        f"{_EXAMPLES}/tp_pp_llama_hf_pretrain/70B_config_llama3",
        80,
        "meta-llama/Meta-Llama-3-70B",
        pipelined=True,
        variables=(
            ("NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS", "7"),
            ("XLA_DISABLE_FUNCTIONALIZATION", "0"),
            ("XLA_DOWNCAST_BF16", "1"),
        ),
    ),
    # Takes the options of the pipelined program.
    "placeholder": Model(f"{_EXAMPLES}/tp_pp_llama_hf_pretrain/run_llama_nxd.py", "", 2, pipelined=True),
}


@dataclass(frozen=True, slots=True)
class Options:
    """A command line: the launch file's own options, and the words for NxD's program."""

    model: str
    global_batch: int
    micro_batch: int
    tokens: str
    weights: str
    task: str
    hardware: str
    words: tuple[str, ...]
    tensor_parallel: int
    pipeline_parallel: int
    context_parallel: int

    @property
    def model_parallel(self) -> int:
        """The number of ranks that hold one copy of the model."""
        return self.tensor_parallel * self.pipeline_parallel * self.context_parallel


def known_options(file: str) -> dict[str, str]:
    """Return the options of a file of NxD, each with `flag` or `value`."""
    text = (Path(__file__).parent / "nxd_launch" / "options.json").read_text(encoding="utf-8")
    recorded: dict[str, str] = json.loads(text)["programs"][file]
    return recorded


def options(words: Sequence[str] | None = None) -> Options:
    """Read a command line of train.py; argparse ends the program with 2 where it is wrong."""
    parser = _parser()
    own, rest = parser.parse_known_args(sys.argv[1:] if words is None else words)
    model = MODELS[own.model]
    theirs = argparse.ArgumentParser(prog="train.py", add_help=False, allow_abbrev=False)
    for name, kind in known_options(model.program).items():
        if kind == "flag":
            theirs.add_argument(f"--{name}", action="store_true")
        else:
            theirs.add_argument(f"--{name}")
    program, unknown = theirs.parse_known_args(rest)
    if unknown:
        parser.error(f"{own.model}: NxD's program has no option {' '.join(unknown)}")

    def size(name: str) -> int:
        text = getattr(program, name, None) or "1"
        if not (text.isascii() and text.isdecimal() and int(text)):
            parser.error(f"--{name} {text}: a number from 1")
        return int(text)

    for name in _OURS[model.pipelined]:
        if getattr(program, name, None) is not None:
            parser.error(f"--{name} follows from --global-batch and the number of ranks; give that one")
    return Options(
        model=own.model,
        global_batch=own.global_batch,
        micro_batch=own.micro_batch,
        tokens=own.tokens,
        weights=own.weights,
        task=own.task,
        hardware=own.hardware,
        words=tuple(rest),
        tensor_parallel=size("tensor_parallel_size"),
        pipeline_parallel=size("pipeline_parallel_size"),
        context_parallel=size("context_parallel_size"),
    )


_OURS = {False: ("batch_size", "grad_accum_usteps"), True: ("train_batch_size", "num_microbatches")}
"""Options that the launch file computes, for the program without a pipeline and the one with it."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="train.py",
        description="Train Llama 3 on Neuron devices with NxD's own programs.",
        epilog="All other options are those of NxD's program, by the names of nxd_launch/options.json.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--model", choices=sorted(MODELS), required=True)
    add(
        "--global-batch", type=positive, default=1024, help="sequences of a step over all copies of the model"
    )
    add("--micro-batch", type=positive, default=1, help="sequences that a copy computes at once")
    add("--tokens", choices=("synthetic", "c4"), default="synthetic", help="the asset that is trained on")
    add("--weights", choices=("scratch", "converted"), default="scratch", help="where training begins")
    add(
        "--task",
        choices=("train", "compile", "export"),
        default="train",
        help="compile: a few steps, for neuron_parallel_compile; export: the newest checkpoint to one file",
    )
    add("--hardware", choices=("trn1", "trn2"), default="trn1", help="of NxD's converter of checkpoints")
    return parser
