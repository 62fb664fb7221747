"""The workload mosaicml-composer for real: Composer with synthetic MDS shards, two ranks by the local script."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalog.versions import COMPOSER, DIFFUSERS, LLM_FOUNDRY
from tests.programs import ROOT
from tests.training.framework_runs import FrameworkRun, framework
from workloads.mosaicml_composer.composer_sizes import DIFFUSION
from workloads.registry import workload

Artifacts = Callable[[str], Path]

FOLDER = ROOT / "workloads" / "mosaicml_composer"
KNOWN = Path(__file__).parent / "llm_foundry_options.json"

_CONFIGURATIONS = """
import json, sys
from pathlib import Path
from composer_launch.foundry_configuration import configuration
from composer_options import options
for words in json.load(sys.stdin):
    for on_gpus in (True, False):
        print(json.dumps(configuration(options(words), Path("/data"), Path("/run"), on_gpus=on_gpus)))
"""

_SHARDS = """
import json, sys
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
words = {"end": 0, "a": 1, "b": 2, "c": 3}
tokenizer = Tokenizer(models.WordLevel(words, unk_token="end"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="end").save_pretrained("tokenizer")
import runpy
def convert(text):
    sys.argv = ["convert.py", "--tokenizer=tokenizer", "--length=3", "--documents=3", "--text", text]
    try:
        runpy.run_path(PROGRAM, run_name="__main__")
    except SystemExit as end:
        return end.code
assert not convert("documents.jsonl")
assert convert("absent.jsonl") == 66
assert not convert("documents.jsonl")
assert convert("absent.jsonl") == 66
import numpy as np
from streaming import StreamingDataset
samples = StreamingDataset(local="shards", split="train", batch_size=1)
print("read", json.dumps([samples[at]["tokens"].tolist() for at in range(len(samples))]))
import torch
from composer_launch.diffusion import unet
from composer_sizes import DIFFUSION
with torch.device("meta"):
    for name, size in DIFFUSION.items():
        print("weights", name, sum(each.numel() for each in unet(size).parameters()))
"""


def _python(code: str, folder: Path, python: str = sys.executable, **environment: str) -> list[str]:
    """Run code with the workload's folder on its path, and return the lines that it prints."""
    path = os.pathsep.join([str(FOLDER), str(ROOT / "workloads" / "runtime")])
    done = subprocess.run(
        [python, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **environment},
        input=json.dumps([[*preset.arguments] for preset in _of_foundry()]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def _of_foundry() -> list[Any]:
    presets = workload("mosaicml-composer").presets.values()
    return [
        each
        for each in presets
        if each.name.startswith("mpt-") and "--trainer=composer" not in each.arguments
    ]


@pytest.fixture(scope="module")
def whole(artifacts: Artifacts) -> FrameworkRun:
    """A run that nobody interrupted."""
    run = FrameworkRun("mosaicml-composer", "tiny", artifacts("composer-whole"))
    assert run.run() == 0, run.log
    return run


@pytest.mark.heavy
@pytest.mark.proof("mosaicml-composer", "local", "executed")
def test_the_loss_falls_and_three_checkpoints_stay(whole: FrameworkRun) -> None:
    losses = whole.printed_losses()
    assert list(losses) == list(range(1, 31))
    assert losses[30] < losses[1] - 0.5
    assert whole.log.count("step=7 ") == 1
    steps = {path.name.split("-")[1] for path in (whole.run_folder / "checkpoints").glob("ep*")}
    assert steps == {"ba20", "ba25", "ba30"}


@pytest.mark.heavy
def test_its_metrics_have_the_names_of_all(whole: FrameworkRun) -> None:
    metrics = whole.metrics()
    assert metrics["step"] == 30
    assert metrics["loss"] == whole.printed_losses()[30]
    assert metrics["samples_per_second"] == pytest.approx(8 / metrics["seconds_per_step"])
    assert metrics["tokens_per_second"] == pytest.approx(64 * metrics["samples_per_second"])
    assert metrics["tflops"] > 0


@pytest.mark.heavy
def test_a_killed_run_resumes_with_the_same_losses(whole: FrameworkRun, artifacts: Artifacts) -> None:
    run = FrameworkRun("mosaicml-composer", "tiny", artifacts("composer-killed"))
    assert run.kill_at(run.start(), 12) != 0
    assert 30 not in run.printed_losses()
    # As a rank leaves it that is killed while it writes: a part of a checkpoint, and no link to the one before.
    checkpoints = run.run_folder / "checkpoints"
    newest = max(int(path.name.split("-ba")[1].split("-")[0]) for path in checkpoints.glob("ep*"))
    (checkpoints / f"ep9-ba{newest + 5}-rank0.pt").write_bytes(b"PK\3\4 and no more")
    (checkpoints / "latest-rank0.pt").unlink()
    before = len(run.log)
    assert run.run() == 0, run.log
    assert f"step={newest} " not in run.log[before:]
    assert f"step={newest + 1} " in run.log[before:]
    assert run.printed_losses() == whole.printed_losses()


@pytest.mark.heavy
def test_stable_diffusion_trains_on_latents(artifacts: Artifacts) -> None:
    run = FrameworkRun("mosaicml-composer", "sd2-tiny", artifacts("composer-diffusion"))
    assert run.run() == 0, run.log
    losses = run.printed_losses()
    assert list(losses) == [1, 2, 3, 4, 5]
    assert losses[5] < losses[1]
    assert (run.run_folder / "checkpoints" / "latest-rank0.pt").exists()


@pytest.mark.heavy
def test_documents_become_shards_and_the_u_net_is_that_of_stable_diffusion_2(artifacts: Artifacts) -> None:
    """One process for both: to import torch and Composer takes longer than either."""
    folder = artifacts("composer-shards")
    documents = [{"text": text} for text in ("a b", "c", "a a a", "b b b b b b")]
    (folder / "documents.jsonl").write_text("".join(json.dumps(each) + "\n" for each in documents))
    program = f"PROGRAM = {str(FOLDER / 'convert.py')!r}\n"
    python = str(framework("mosaicml-composer") / "bin" / "python")
    lines = _python(program + _SHARDS, folder, python, C4_FOLDER=str(folder / "shards"))
    # Three documents, each with an end: a b end, c end a, a a end.
    assert "read [[1, 2, 0], [3, 0, 1], [1, 1, 0]]" in lines
    # Those of the lower bound of memory; the stable diffusion case of awslabs/awsome-distributed-ai has 865.9 million.
    weights = [line for line in lines if line.startswith("weights")]
    assert weights == [f"weights {name} {size.weights}" for name, size in DIFFUSION.items()]
    assert DIFFUSION["sd2-512"].weights == 865_910_724


def test_llm_foundry_knows_the_options_of_its_presets(tmp_path: Path) -> None:
    known = json.loads(KNOWN.read_text(encoding="utf-8"))["options"]
    found = [json.loads(line) for line in _python(_CONFIGURATIONS, tmp_path)]
    assert len(found) == 2 * len(_of_foundry()) > 0
    for configuration in found:
        assert configuration.keys() <= {*known["configuration"]}
        assert configuration["model"].keys() - {"name"} <= {*known["model"]}
        assert configuration["model"]["attn_config"].keys() <= {*known["attention"]}
        assert configuration["train_loader"].keys() - {"name"} <= {*known["loader"]}
        assert configuration["train_loader"]["dataset"].keys() <= {*known["dataset"]}
        assert configuration.get("fsdp_config", {}).keys() <= {*known["fsdp"]}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--model=mpt-7b"], "--global-batch"),
        (["--model=mpt-9b", "--global-batch=8"], "mpt-9b"),
        (["--model=mpt-7b", "--global-batch=9", "--micro-batch=2"], "no multiple"),
        (["--model=mpt-7b", "--global-batch=8", "--ema"], "Stable Diffusion"),
        (["--model=sd2-512", "--global-batch=8", "--set=a=b"], "llm-foundry"),
    ],
)
def test_a_wrong_option_is_final(words: list[str], problem: str) -> None:
    """The launch guard takes the exit code 2 of a rank for final."""
    done = subprocess.run(
        [sys.executable, "train.py", *words],
        cwd=FOLDER,
        env={**os.environ, "PYTHONPATH": str(ROOT / "workloads" / "runtime")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert problem in done.stderr


@pytest.mark.parametrize(
    ("file", "pins"),
    [
        ("requirements.txt", {"mosaicml": COMPOSER, "diffusers": DIFFUSERS, "llm-foundry": LLM_FOUNDRY}),
        ("environment.txt", {"mosaicml": COMPOSER, "diffusers": DIFFUSERS}),
    ],
)
def test_versions_are_the_catalogs(file: str, pins: dict[str, str]) -> None:
    lines = (FOLDER / file).read_text(encoding="utf-8").splitlines()
    assert {f"{name}=={version}" for name, version in pins.items()} <= {*lines}


def test_a_folder_of_sharded_checkpoints_is_repaired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With FSDP a checkpoint is a folder, whose metadata is written last."""
    monkeypatch.syspath_prepend(str(FOLDER))
    repair = importlib.import_module("composer_launch.checkpoints").repair
    for step in (5, 10, 15, 20):
        folder = tmp_path / f"ep0-ba{step}"
        folder.mkdir()
        (folder / "__0_0.distcp").write_bytes(b"")
        if step != 20:
            (folder / ".metadata").write_bytes(b"")
    (tmp_path / "latest-sharded-rank0").symlink_to("ep0-ba20")
    repair(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "ep0-ba10",
        "ep0-ba15",
        "latest-sharded-rank0",
    ]
    assert (tmp_path / "latest-sharded-rank0").resolve() == (tmp_path / "ep0-ba15").resolve()
    repair(tmp_path / "none", 2)
