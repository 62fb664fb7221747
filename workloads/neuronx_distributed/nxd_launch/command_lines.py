"""The command lines of NxD's programs: options, paths of the run, and the sizes that follow from the ranks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nxd_options import MODELS, Options

SOURCES_VARIABLE = "NXD_SOURCES"
"""The variable with NxD's repository in the image, at the commit of options.json."""

PRETRAINED = "pretrained_weight"
"""The checkpoint with which NxD's programs begin where no other is there."""

COMPILED_STEPS = 2
"""Steps that the stage `compile` takes: all graphs are known then. NxD's script for 8B takes as many."""


class LayoutError(ValueError):
    """The ranks do not fit the model's layout, or the batch does not fit the ranks."""


def batch_per_copy(options: Options, ranks: int) -> int:
    """Return the sequences of a step on one copy of the model.

    Raises:
        LayoutError: they cannot be whole micro batches.
    """
    copies, left = divmod(ranks, options.model_parallel)
    sizes = f"tp {options.tensor_parallel} x pp {options.pipeline_parallel} x cp {options.context_parallel}"
    if left or not copies:
        raise LayoutError(f"{ranks} ranks are no multiple of {options.model_parallel} ({sizes})")
    batch, left = divmod(options.global_batch, copies * options.micro_batch)
    if left or not batch:
        raise LayoutError(
            f"a batch of {options.global_batch} does not divide into micro batches of {options.micro_batch} on "
            f"{copies} copies of the model"
        )
    return batch * options.micro_batch


def training(options: Options, ranks: int, environment: Mapping[str, str]) -> list[str]:
    """Return the options of NxD's program: ours, then the run's, and last what a task needs.

    Of two options with one name the last one counts.

    Raises:
        LayoutError: the ranks or the batch do not fit.
        KeyError: a variable of the launch is not set.
    """
    model = MODELS[options.model]
    run = Path(environment["RUN_FOLDER"])
    batch = batch_per_copy(options, ranks)
    tokens = environment.get(f"{options.tokens.upper()}_TOKENS", "")
    configuration = str(Path(environment.get(SOURCES_VARIABLE, "")) / model.configuration)
    converted = options.weights == "converted"
    shared = [
        f"--metrics_file={run / 'results.json'}",
        f"--checkpoint_dir={run / 'checkpoints'}",
        "--loading_step=latest_if_exists",
        "--num_kept_checkpoint=2",
    ]
    if model.pipelined:
        own = [
            f"--train_batch_size={batch}",
            f"--num_microbatches={batch // options.micro_batch}",
            f"--training_dir={tokens}",
            f"--training_config={configuration}",
            # NxD removes this folder when a run begins.
            f"--tb_dir={run / 'tensorboard'}",
            f"--pretrained_weight={int(converted)}",
        ]
    else:
        own = [
            f"--batch_size={options.micro_batch}",
            f"--grad_accum_usteps={batch // options.micro_batch}",
            f"--data_dir={tokens}",
            f"--model_path={configuration}",
            f"--output_dir={run / 'tensorboard'}",
            # The program compares it before it looks whether it is there.
            "--steps_this_run=-1",
            *(["--pretrained_weight"] if converted else []),
        ]
    return [*own, *shared, *options.words, *(_compiling(options) if options.task == "compile" else [])]


def _compiling(options: Options) -> list[str]:
    """Return the options of a few steps that leave nothing: the graphs are those of the training."""
    steps = "max_steps" if MODELS[options.model].pipelined else "steps_this_run"
    return [f"--{steps}={COMPILED_STEPS}", "--checkpoint_freq=-1", "--loading_step=-1"]


def conversion(options: Options, *, source: str, target: str, configuration: str) -> list[str]:
    """Return the options of NxD's converter: of the hub's weights into shards, or of shards into one file.

    Its types are bool("..."): every text but an empty one is true, so an option that is false is left out.
    """
    to_full = options.task == "export"
    return [
        "--convert_to_full_state" if to_full else "--convert_from_full_state",
        f"--hw_backend={options.hardware}",
        f"--tp_size={options.tensor_parallel}",
        f"--pp_size={options.pipeline_parallel}",
        f"--n_layers={MODELS[options.model].layers}",
        f"--kv_size_multiplier={_kv_replicator(options)}",
        "--qkv_linear=True",
        "--fuse_qkv=True",
        "--load_xser=True" if to_full else "--save_xser=True",
        f"--config={configuration}/config.json",
        f"--input_dir={source}" if to_full else f"--hf_model_name={source}",
        f"--output_dir={target}",
    ]


def _kv_replicator(options: Options) -> str:
    """Return how often key and value heads are repeated: the converter needs what the training has."""
    values = [word.partition("=")[2] for word in options.words if word.startswith("--kv_replicator=")]
    return values[-1] if values else "1"


def shards_folder(options: Options) -> str:
    """Return the name of the folder with a model's weights for a layout."""
    return f"{options.model}-tp{options.tensor_parallel}-pp{options.pipeline_parallel}"


def shards(options: Options) -> int:
    """Return the number of files that the weights of a model are cut into."""
    return options.tensor_parallel * options.pipeline_parallel


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint of a run that NxD finished; None where there is none."""
    whole = {
        int(path.parent.name.removeprefix("step_")): path.parent
        for path in folder.glob("step_*/done")
        if path.parent.name.removeprefix("step_").isdecimal()
    }
    return whole[max(whole)] if whole else None


def printing_rank(options: Options, ranks: int) -> int:
    """Return the rank that prints the lines of steps: the first one of the pipeline's last stage.

    NxD numbers ranks as [pipeline, data, tensor], tensor fastest (parallel_state.py, `initialize_model_parallel`).
    """
    if not MODELS[options.model].pipelined:
        return 0
    return ranks // options.pipeline_parallel * (options.pipeline_parallel - 1)
