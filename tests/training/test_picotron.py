"""The launch of Picotron: its configuration, the newest checkpoint, and a killed run, with a placeholder for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from catalog.versions import PICOTRON_COMMIT
from tests.ports import free_ports
from tests.programs import ROOT
from tests.progress_log import matching
from tests.training.picotron_modules import PLACEHOLDER
from tests.training.runs import LocalRun
from workloads.registry import workload

# isort: split
from picotron_launch import checkpoints, configuration, synthetic
from picotron_launch.options import options
from picotron_launch.sizes import SIZES

Artifacts = Callable[[str], Path]


def _configuration(*words: str, ranks: int = 16, newest: Path | None = None) -> dict[str, dict[str, object]]:
    return configuration.configuration(
        options([*words]),
        ranks=ranks,
        model=Path("/data/model"),
        texts=Path("/data/texts"),
        checkpoints=Path("/runs/r1/checkpoints"),
        newest=newest,
        on_processors=False,
        flash_attention=False,
    )


@pytest.mark.parametrize("name", [*workload("picotron").presets])
def test_every_preset_makes_a_configuration_that_fits_its_ranks(name: str) -> None:
    preset = workload("picotron").presets[name]
    ranks = 8 * preset.nodes if name != "tiny" else 2
    found = _configuration(*preset.arguments, ranks=ranks)
    sizes, training = found["distributed"], found["training"]
    product = 1
    for size in ("tp_size", "pp_size", "cp_size", "dp_size"):
        assert isinstance(sizes[size], int)
        product *= sizes[size]
    assert product == ranks
    layout = preset.layout
    assert layout is not None
    assert (sizes["tp_size"], sizes["pp_size"], sizes["cp_size"]) == (layout.tp, layout.pp, layout.cp)
    batch = training["micro_batch_size"] * training["gradient_accumulation_steps"] * sizes["dp_size"]  # type: ignore[operator]
    assert batch == preset.global_batch
    assert training["seq_length"] == preset.tokens_per_sample
    # Picotron ends with a traceback where the number is None.
    assert isinstance(training["total_train_steps"], int)


def test_the_token_is_not_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret-value")
    found = _configuration()
    assert "secret-value" not in json.dumps(found)
    assert found["environment"]["HF_TOKEN"] is None
    assert found["logging"]["run_name"] == "r1"


def test_the_checkpoint_to_load_is_a_steps_folder() -> None:
    assert _configuration()["checkpoint"]["load_path"] == ""
    step = Path("/runs/r1/checkpoints/400")
    assert _configuration(newest=step)["checkpoint"] == {
        "save_dir": "/runs/r1/checkpoints",
        "save_frequency": 200,
        "load_path": str(step),
    }


@pytest.mark.parametrize(
    ("words", "ranks", "said"),
    [
        (["--tensor-parallel=2", "--pipeline-parallel=3"], 16, "no multiple of tensor x pipeline x context"),
        (["--global-batch=10", "--micro-batch=4"], 16, "does not divide by 16 copies"),
    ],
)
def test_sizes_that_do_not_divide_are_refused(words: list[str], ranks: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        _configuration(*words, ranks=ranks)


@pytest.mark.parametrize(
    "words",
    [
        ["--model=smollm-135m", "--tensor-parallel=2"],
        ["--layers=2", "--pipeline-parallel=4"],
        ["--sequence-length=100", "--context-parallel=8"],
        ["--model=tiny", "--data=tinystories"],
    ],
)
def test_options_that_cannot_be_are_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        options(words)
    assert caught.value.code == 2


def _save(folder: Path, step: int, names: list[str]) -> Path:
    (folder / str(step)).mkdir(parents=True)
    for name in names:
        with zipfile.ZipFile(folder / str(step) / name, "w") as archive:
            archive.writestr("data.pkl", "content")
    return folder / str(step)


def test_the_newest_step_whose_files_are_all_whole_is_loaded(tmp_path: Path) -> None:
    names = [checkpoints.file_name(at, 2, stage, 2) for at in range(2) for stage in range(2)]
    assert names[1] == "weights_tp_rank_world_size=0_2_pp_rank_world_size=1_2.pth"
    saved = tmp_path / "checkpoints"
    assert checkpoints.newest(saved, tensor=2, pipeline=2) is None
    first = _save(saved, 90, names)
    second = _save(saved, 100, names)
    (saved / "other").mkdir()
    assert checkpoints.newest(saved, tensor=2, pipeline=2) == second
    # A rank that was killed leaves a file without its end.
    torn = second / names[3]
    torn.write_bytes(torn.read_bytes()[:-30])
    assert checkpoints.newest(saved, tensor=2, pipeline=2) == first
    _save(saved, 110, names[:3])
    assert checkpoints.newest(saved, tensor=2, pipeline=2) == first
    # Of other parallel sizes there is none.
    assert checkpoints.newest(saved, tensor=1, pipeline=2) is None


def test_five_layers_of_smollm_have_as_many_weights_as_the_predecessor_says() -> None:
    assert round(SIZES["smollm-1-7b"].parameters(5) / 1e6, 1) == 536.9
    # Picotron does not tie the first and the last weights.
    tied = {name: each.parameters(each.layers) - each.vocabulary * each.width for name, each in SIZES.items()}
    assert round(tied["smollm-1-7b"] / 1e9, 1) == 1.7
    assert round(tied["smollm-360m"] / 1e6) == 362
    assert round(tied["smollm-135m"] / 1e6) == 135


def test_the_file_of_shapes_takes_no_room(tmp_path: Path) -> None:
    synthetic.model(tmp_path, SIZES["smollm-1-7b"], 24)
    path = tmp_path / synthetic.WEIGHTS
    content = path.open("rb")
    with content:
        header = json.loads(content.read(int.from_bytes(content.read(8), "little")))
    weights = sum(each["data_offsets"][1] - each["data_offsets"][0] for each in header.values()) // 2
    assert weights == SIZES["smollm-1-7b"].parameters(24) - 49152 * 2048
    assert header["model.layers.23.mlp.down_proj.weight"]["shape"] == [2048, 8192]
    assert path.stat().st_size > 2 * weights
    assert path.stat().st_blocks * 512 < 1_000_000


@pytest.mark.heavy
@pytest.mark.proof("picotron", "local", "executed")
def test_a_killed_run_resumes_at_the_newest_whole_step_with_the_data_that_come_next(
    artifacts: Artifacts,
) -> None:
    """With a placeholder for Picotron, which CI does not have; the README says how Picotron itself ran."""
    pattern = workload("picotron").progress.pattern

    def losses(run: LocalRun) -> dict[int, float]:
        return {int(found["step"]): found["loss"] for found in matching(run.log, pattern)}

    place = str(PLACEHOLDER)
    run = LocalRun("picotron", "tiny", artifacts("picotron"))
    process = run.start(PICOTRON_FOLDER=place)
    run.wait_for(lambda: 10 in losses(run), "step 10")
    os.kill(run.ranks()[1], signal.SIGKILL)
    assert run.wait(process) != 0
    assert 12 not in losses(run)
    # As a save that was ended in between leaves it.
    _save(run.run_folder / "checkpoints", 11, [])
    assert run.run(PICOTRON_FOLDER=place) == 0, run.log
    assert "resuming after step 8 of 12" in run.log
    assert losses(run) == {step: _mean_of_all_batches(step) for step in range(1, 13)}
    assert (run.run_folder / "checkpoints" / "12").is_dir()


_LATE = """
import runpy, sys, time
import torch.distributed
get = torch.distributed.PrefixStore.get
torch.distributed.PrefixStore.get = lambda *of: time.sleep(1) or get(*of)
sys.argv[0] = "train.py"
runpy.run_path("train.py", run_name="__main__")
"""
"""train.py on a slow node: it takes the configuration after rank 0 is past it."""

_SECONDS = 240
"""Timeout of a rank. It is no promise of speed: a machine that others use may be slow."""


@pytest.mark.heavy
def test_rank_0_prints_the_lines_of_a_stage_on_another_node(tmp_path: Path) -> None:
    """Two nodes of one rank each, a stage of the pipeline on each: the second one prints."""
    chosen = options(["--tensor-parallel=2", "--pipeline-parallel=2", "--context-parallel=2"])
    assert (chosen.printing_rank, options([]).printing_rank) == (4, 0)
    folder = ROOT / "workloads" / "picotron"
    preset = workload("picotron").presets["tiny"]
    place = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "1",
        "LOCAL_RANK": "0",
        "PICOTRON_FOLDER": str(PLACEHOLDER),
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(free_ports(1)[0]),
        "RUN_FOLDER": str(tmp_path),
        "PYTHONPATH": str(folder.parent / "runtime"),
    }
    words = [*preset.arguments, "--pipeline-parallel=2"]
    with ExitStack() as running:
        ranks = []
        for rank, start in enumerate((["train.py"], ["-c", _LATE])):
            process = subprocess.Popen(
                [sys.executable, *start, *words],
                cwd=folder,
                env={**os.environ, **place, "RANK": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            ranks.append(process)
            running.callback(process.kill)
        printed = {}
        # The late one first: the other waits for it where it fails.
        for rank in (1, 0):
            printed[rank], _ = ranks[rank].communicate(timeout=_SECONDS)
            assert ranks[rank].returncode == 0, printed[rank]
    pattern = workload("picotron").progress.pattern
    steps = [int(found["step"]) for found in matching(printed[1], pattern)]
    assert steps == list(range(1, 13))
    assert [int(found["step"]) for found in matching(printed[0], pattern)] == steps


def _mean_of_all_batches(step: int) -> float:
    """Return what the placeholder prints after a step: its 44 numbers are squares, and each rank takes every second."""
    taken = 4 * step
    total = sum((2 * (at % 22) + rank) ** 2 for rank in range(2) for at in range(taken))
    return round(total / step, 4)


def test_the_commit_is_the_catalogs() -> None:
    assert (ROOT / "workloads" / "picotron" / "picotron.txt").read_text(
        encoding="utf-8"
    ) == f"{PICOTRON_COMMIT}\n"
