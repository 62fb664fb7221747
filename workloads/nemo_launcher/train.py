"""Launch file of NeMo 1: compose the configuration of a pre-training, and run NeMo's own program with it.

    torchrun ... train.py --model=gpt3-5b trainer.max_steps=30

RUN_FOLDER is where logs and checkpoints go, and where NeMo's experiment manager finds the checkpoint that it resumes
from. The program is that of NeMo's image; with `--program=placeholder` one on processors takes its place and says so.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import nemo1_options
from training import errors
from training.errors import NO_INPUT, STOPPED, UNAVAILABLE, TrainingError

NEMO = Path("/opt/NeMo/examples/nlp/language_modeling/megatron_gpt_pretraining.py")
"""NeMo's program for GPT-3 and Llama 2, in its image."""

PLACEHOLDER = Path(__file__).parent / "nemo1_launch" / "placeholder.py"

CONFIGURATION = "pretraining.yaml"
"""The file of the composed configuration: one in a rank's temporary folder, and one in the run's folder to read."""


def _check(tokenizer: Mapping[str, str | None], model: str) -> None:
    """Check that the tokenizer and NeMo are there.

    Raises:
        TrainingError: one is missing.
    """
    for name in ("model", "vocab_file", "merge_file"):
        file = tokenizer[name]
        if file and not Path(file).is_file():
            raise TrainingError(
                f"there is no '{file}'; the stage 'tokenizer' fetches it with --model={model}", NO_INPUT
            )
    if not NEMO.is_file():
        raise TrainingError(f"there is no '{NEMO}'; the workload's image has it", UNAVAILABLE)


def _run(program: Path, folder: str) -> None:
    """Be a program that reads a configuration by Hydra. NeMo saves at SIGTERM alone, so the other signals become it."""
    for number in (signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGTERM))
    sys.argv = [
        *(str(program), f"--config-path={folder}", f"--config-name={CONFIGURATION}"),
        # No files of Hydra's own in the working folder.
        *("hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=stdout"),
    ]
    sys.path.insert(0, str(program.parent))
    try:
        runpy.run_path(str(program), run_name="__main__")
    except SystemExit as end:
        # NeMo's callback ends the program so, after it has saved; a training that is done returns.
        sys.exit(STOPPED if end.code in (0, None) else end.code)


def main() -> None:
    """Train as the command line says."""
    arguments = nemo1_options.options()
    run_folder = os.environ.get("RUN_FOLDER", "")
    if not run_folder:
        raise TrainingError("RUN_FOLDER is not set: it names the folder of the run's checkpoints")
    from hydra.errors import HydraException
    from nemo1_launch.composition import Place, composed
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    ranks, of_node = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    place = Place(
        run_folder,
        ranks // of_node,
        of_node,
        *(os.environ.get(variable, "") for variable in ("TOKENIZER_FOLDER", "TOKENS_FOLDER")),
    )
    try:
        configuration = composed(arguments, place)
    except (HydraException, OmegaConfBaseException) as error:
        raise TrainingError(" ".join(str(error).split())) from error
    text = OmegaConf.to_yaml(configuration)
    if arguments.show:
        sys.stdout.write(text)
        return
    program = NEMO if arguments.program == "nemo" else PLACEHOLDER
    if program == NEMO:
        _check(configuration["model"]["tokenizer"], arguments.model)
    if os.environ.get("RANK", "0") == "0":
        Path(run_folder, CONFIGURATION).write_text(text, encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, CONFIGURATION).write_text(text, encoding="utf-8")
        _run(program, folder)


if __name__ == "__main__":
    errors.run(main)
