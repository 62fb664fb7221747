"""The workload nemo-launcher: its configuration composed by the real hydra-core, and its launch with a placeholder.

NVIDIA's launcher and NeMo 1 are on no package index that has them with their parts, so neither runs here. The
configuration is ours; its names and sizes are compared with those that recorded_options.json has of the launcher's own.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog.versions import HYDRA, OMEGACONF, ZSTANDARD
from tests.ports import free_ports
from tests.programs import ROOT
from tests.training.framework_runs import FrameworkRun, framework
from workloads.program_arguments import check_arguments
from workloads.registry import workload
from workloads.spec import Run

Artifacts = Callable[[str], Path]

FOLDER = ROOT / "workloads" / "nemo_launcher"
RUNTIME = str(ROOT / "workloads" / "runtime")
PRESETS = workload("nemo-launcher").presets
RECORDED = json.loads((FOLDER / "recorded_options.json").read_text(encoding="utf-8"))

COMPOSE = """
import json, sys
import nemo1_options
from nemo1_launch.composition import Place, composed

place = Place("/fsx/runs/r", 2, 8, "/fsx/data/tokenizers", "/fsx/data/tokens")
lines = json.loads(sys.argv[1])
print(json.dumps({name: composed(nemo1_options.options(words), place) for name, words in lines.items()}))
"""


def python(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python of the workload's environment in the workload's folder."""
    return subprocess.run(
        [str(framework("nemo-launcher") / "bin" / "python"), *words],
        cwd=FOLDER,
        env={**os.environ, "PYTHONPATH": f"{FOLDER}:{RUNTIME}", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def leaves(node: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a configuration by their dotted names."""
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from leaves(value, f"{name}.{key}" if name else key)
    else:
        yield name, node


@pytest.fixture(scope="module")
def compositions() -> dict[str, dict[str, Any]]:
    """The values of each preset's configuration, and of each model's without a preset, by their names."""
    lines = {name: preset.arguments for name, preset in PRESETS.items()}
    lines |= {f"only {model}": (f"--model={model}",) for model in RECORDED["files"]}
    done = python("-c", COMPOSE, json.dumps(lines))
    assert done.returncode == 0, done.stderr
    return {name: dict(leaves(values)) for name, values in json.loads(done.stdout).items()}


@pytest.mark.heavy
@pytest.mark.parametrize("model", RECORDED["files"])
def test_a_model_has_the_launchers_names_and_sizes(
    model: str, compositions: dict[str, dict[str, Any]]
) -> None:
    values = compositions[f"only {model}"]
    assert set(values) == {*RECORDED["common"], *RECORDED["more"][model]}
    assert {name: values[name] for name in RECORDED["facts"][model]} == RECORDED["facts"][model]


@pytest.mark.heavy
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_what_it_says(name: str, compositions: dict[str, dict[str, Any]]) -> None:
    preset, values = PRESETS[name], compositions[name]
    assert preset.layout
    assert values["model.tensor_model_parallel_size"] == preset.layout.tp
    assert values["model.pipeline_model_parallel_size"] == preset.layout.pp
    assert values["model.micro_batch_size"] == preset.layout.micro_batch
    assert values["model.global_batch_size"] == preset.global_batch
    assert values["model.data.seq_length"] == preset.tokens_per_sample
    copies = preset.layout.tp * preset.layout.pp
    assert values["exp_manager.checkpoint_callback_params.model_parallel_size"] == copies
    # All layers of the model are in the stages of the pipeline.
    stages = preset.layout.pp * (values["model.virtual_pipeline_model_parallel_size"] or 1)
    assert values["model.num_layers"] % stages == 0
    assert values["trainer.num_nodes"] == 2
    assert values["trainer.devices"] == 8
    assert values["exp_manager.explicit_log_dir"] == "/fsx/runs/r/nemo"
    assert values["exp_manager.resume_if_exists"] is True
    tokenizer = "llama2/tokenizer.model" if name.startswith("llama2") else "gpt2/vocab.json"
    assert f"/fsx/data/tokenizers/{tokenizer}" in values.values()


@pytest.mark.heavy
def test_benchmarks_have_the_published_arguments(compositions: dict[str, dict[str, Any]]) -> None:
    """Nodes, steps and micro batch of the predecessor's scripts (awslabs/awsome-distributed-ai, 95b939c)."""
    published = {
        "gpt3-126m": (2, 100, 4),
        "gpt3-5b": (2, 30, 2),
        "gpt3-40b": (2, 5, 1),
        "gpt3-175b": (16, 5, 1),
        "llama2-7b": (2, 30, 1),
        "llama2-70b": (16, 5, 1),
    }
    for name, (nodes, steps, micro_batch) in published.items():
        values = compositions[name]
        assert PRESETS[name].nodes == nodes
        assert values["trainer.max_steps"] == values["trainer.val_check_interval"] == steps
        assert values["model.micro_batch_size"] == micro_batch
        assert values["trainer.limit_val_batches"] == 0
        for size in ("tensor", "pipeline", "virtual_pipeline"):
            place = f"model.{size}_model_parallel_size"
            assert values[place] == RECORDED["facts"][name][place]
        assert values["exp_manager.create_checkpoint_callback"] is False
        assert values["model.data.data_impl"] == "mock"
        assert values["model.data.data_prefix"] == []
    assert compositions["llama2-70b"]["model.gc_interval"] == 0


@pytest.mark.heavy
def test_the_pile_has_all_of_its_files_and_saves(compositions: dict[str, dict[str, Any]]) -> None:
    values = compositions["gpt3-5b-pile"]
    prefix = values["model.data.data_prefix"]
    assert prefix[1::2] == [
        f"/fsx/data/tokens/pile_0{number}/pile_0{number}_text_document" for number in range(6)
    ]
    assert sum(prefix[::2]) == pytest.approx(1)
    assert values["exp_manager.create_checkpoint_callback"] is True
    assert values["trainer.limit_val_batches"] > 0


@pytest.fixture(scope="module")
def run(artifacts: Artifacts) -> FrameworkRun:
    """The launch on two ranks."""
    run = FrameworkRun("nemo-launcher", "tiny", artifacts("nemo-launcher"))
    assert run.run() == 0, run.log
    return run


@pytest.mark.heavy
@pytest.mark.proof("nemo-launcher", "local", "executed")
def test_the_placeholder_says_what_it_is_and_takes_the_configurations_steps(run: FrameworkRun) -> None:
    assert run.log.count("PLACEHOLDER: a linear regression on processors in place of NeMo's program") == 1
    losses = run.printed_losses()
    assert list(losses) == list(range(1, 21))
    assert losses[20] < losses[1] / 2
    metrics = run.metrics()
    assert metrics["step"] == 20
    assert metrics["consumed_samples"] == 160
    # Eight samples of 2048 tokens a step.
    assert metrics["tokens_per_second"] == pytest.approx(8 * 2048 / metrics["seconds_per_step"])
    written = (run.run_folder / "pretraining.yaml").read_text(encoding="utf-8")
    assert "  num_nodes: 1\n" in written
    assert "  devices: 2\n" in written
    assert f"explicit_log_dir: {run.run_folder}/nemo\n" in written


@pytest.mark.heavy
def test_a_run_that_a_signal_stopped_is_not_done(tmp_path: Path) -> None:
    """NeMo's callback heeds SIGTERM alone, and ends with 0: to the launch guard that would be the run's end."""
    words = ("train.py", *PRESETS["tiny"].arguments, "trainer.max_steps=1000000")
    place = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": str(*free_ports(1))}
    with subprocess.Popen(
        [str(framework("nemo-launcher") / "bin" / "python"), *words],
        cwd=FOLDER,
        env={**os.environ, **place, "RUN_FOLDER": str(tmp_path), "PYTHONPATH": RUNTIME},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        while "global_step=" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGUSR1)
        process.stdout.read()
    assert process.returncode == 75


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--show", "trainer={"), 2, "error: "),
        (("--show", "model.encoder_seq_length=???"), 2, "full_key: model.encoder_seq_length"),
        ((), 69, "there is no '/opt/NeMo/examples/nlp/language_modeling/megatron_gpt_pretraining.py'"),
        (("--model=llama2-7b",), 66, "the stage 'tokenizer' fetches it with --model=llama2-7b"),
    ],
    ids=["no value of Hydra", "a value that is missing", "a machine without NeMo", "another's tokenizer"],
)
def test_what_is_wrong_is_final(words: tuple[str, ...], code: int, message: str, tmp_path: Path) -> None:
    """The launch guard starts no run again that ended with these codes."""
    (tmp_path / "gpt2").mkdir()
    for file in ("vocab.json", "merges.txt"):
        (tmp_path / "gpt2" / file).touch()
    done = python("train.py", *words, RUN_FOLDER=str(tmp_path), TOKENIZER_FOLDER=str(tmp_path))
    assert done.returncode == code
    assert message in done.stderr


def test_names_are_checked_before_anything_starts() -> None:
    for words, message in (
        (("model.num_layer=3",), "'model.num_layer' is no name of gpt3-126m"),
        (("--model=llama2-7b", "model.fsdp=true"), "'model.fsdp' is no name of llama2-7b"),
        (("trainer.max_steps",), "'trainer.max_steps' is not NAME=VALUE"),
        (("--model=gpt3-20b",), "invalid choice: 'gpt3-20b'"),
        (("--files=0-30",), "'0-30' is not in 0-29"),
        (
            ("model.global_batch_size=512",),
            "follows from --global-batch and the number of ranks; give that one",
        ),
        (("++trainer.num_nodes=9",), "'trainer.num_nodes' follows from the run"),
        (("--data=pile", "model.data.data_prefix=[x]"), "'model.data.data_prefix' follows from the run"),
    ):
        assert message in refusal(*words)
    assert refusal("--model=gpt3-5b", "model.fsdp=true", "+model.new=1", "--files=7") == ""


def test_no_value_is_replaced_in_silence() -> None:
    """All names that the composition sets after the command line's are refused there."""
    source = (FOLDER / "nemo1_launch" / "composition.py").read_text(encoding="utf-8")
    names = set(re.findall(r'"((?:trainer|exp_manager|model)\.[a-z_.]+)"', source))
    assert {"trainer.devices", "model.global_batch_size", "model.data.data_prefix"} <= names
    for name in names:
        assert "follows from" in refusal("--data=pile", f"{name}=1"), name


def refusal(*words: str) -> str:
    """Return what the command says of a run with arguments; empty where it takes them."""
    described = workload("nemo-launcher")
    preset = described.presets["gpt3-126m"]
    run = Run.on_type(described, preset, preset.instance_type, preset.nodes, extra_arguments=words)
    return " ".join(finding.message for finding in check_arguments(run))


def test_versions_are_the_catalogs() -> None:
    environment = (FOLDER / "environment.txt").read_text(encoding="utf-8").splitlines()
    assert f"hydra-core=={HYDRA}" in environment
    assert f"omegaconf=={OMEGACONF}" in environment
    requirements = (FOLDER / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert f"zstandard=={ZSTANDARD}" in requirements
