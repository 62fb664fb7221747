"""bionemo-esm1nv without its image: the values for BioNeMo's program, their names, and the stages.

A stub takes the place of BioNeMo: its program prints its command line, its preparation of UniRef50 writes what it got.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.reference_types import GPU
from catalog.versions import BIONEMO_COMMIT, HYDRA, TRANSFORMERS
from tests.esm1nv_modules import FOLDER, RUNTIME
from workloads import registry
from workloads.checks import check_run
from workloads.preset import Preset
from workloads.program_arguments import check_arguments
from workloads.spec import Run

import make_proteins  # isort: skip
from esm1nv_launch import values  # isort: skip
from esm1nv_options import names, options  # isort: skip

WORKLOAD = registry.workload("bionemo-esm1nv")
RECORDED = json.loads((FOLDER / "esm1nv_launch" / "options.json").read_text(encoding="utf-8"))
PREPARATION = """
import json, os, pathlib

class UniRef50Preprocess:
    def __init__(self, root_directory):
        self.root = pathlib.Path(root_directory)

    def prepare_dataset(self, output_dir, **options):
        self.root.mkdir()
        (self.root / "uniref50.fasta").touch()
        train = pathlib.Path(output_dir) / "train"
        train.mkdir(parents=True)
        key = os.environ.get("NGC_CLI_API_KEY", "") and os.environ["NGC_CLI_ORG"]
        (train / "x000.csv").write_text(json.dumps([options, key]))
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with the stub of BioNeMo, as its image has BIONEMO_HOME."""
    folder = tmp_path / "bionemo-home"
    program = folder / "examples" / "protein" / "esm1nv" / "pretrain.py"
    program.parent.mkdir(parents=True)
    program.write_text("import json, sys\nprint(json.dumps(sys.argv))\n", encoding="utf-8")
    (folder / "bionemo").mkdir()
    (folder / "bionemo" / "__init__.py").touch()
    (folder / "bionemo" / "data.py").write_text(PREPARATION, encoding="utf-8")
    return folder


def start(program: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(RUNTIME), variables.pop("PYTHONPATH", "")]))
    return subprocess.run(
        [sys.executable, program, *words],
        cwd=FOLDER,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["esm1nv", "esm1nv-uniref50"])
def test_bionemos_program_gets_the_values_of_a_preset_and_of_the_run(
    name: str, home: Path, tmp_path: Path
) -> None:
    preset = WORKLOAD.presets[name]
    proteins = tmp_path / "proteins"
    (proteins / "train").mkdir(parents=True)
    data = "UNIREF50" if name.endswith("uniref50") else "SYNTHETIC"
    done = start(
        "train.py",
        *preset.arguments,
        PYTHONPATH=str(home),
        BIONEMO_HOME=str(home),
        RUN_FOLDER="/run",
        WORLD_SIZE="32",
        LOCAL_WORLD_SIZE="8",
        **{f"{data}_PROTEINS": str(proteins)},
    )
    assert done.returncode == 0, done.stderr
    program, config_path, config_name, *words = json.loads(done.stdout)
    assert program == str(home / "examples/protein/esm1nv/pretrain.py")
    assert (config_path, config_name) == (
        f"--config-path={home}/examples/protein/esm1nv/conf",
        "--config-name=pretrain_small",
    )
    overrides = dict(word.split("=", 1) for word in words)
    # What the predecessor's script gives, but for the logging in its own project.
    assert overrides == {
        "++cluster_type": "BCP",
        "trainer.num_nodes": "4",
        "trainer.devices": "8",
        "trainer.max_steps": "1000000" if data == "UNIREF50" else "1000",
        "trainer.accumulate_grad_batches": "1",
        "trainer.val_check_interval": "500",
        "exp_manager.exp_dir": "/run/results",
        "exp_manager.create_wandb_logger": "False",
        "exp_manager.resume_if_exists": "True",
        "model.micro_batch_size": "256",
        "model.tensor_model_parallel_size": "1",
        "model.data.dataset_path": str(proteins),
        "model.data.index_mapping_dir": str(proteins),
        "model.data.dataset.train": "x_OP_000..049_CL_",
        "model.data.dataset.val": "x_OP_000..049_CL_",
        "model.data.dataset.test": "x_OP_000..049_CL_",
        "model.dwnstr_task_validation.enabled": "False",
    }
    # BioNeMo's configuration has every one, but the one that is added.
    assert {name for name in overrides if name not in names()} == {"++cluster_type"}


@pytest.mark.parametrize("preset", WORKLOAD.presets.values(), ids=lambda preset: preset.name)
def test_a_presets_description_is_what_its_values_say(preset: Preset) -> None:
    settings = options(preset.arguments)
    assert preset.layout is not None
    assert settings.global_batch == preset.global_batch
    assert values.number(settings.values, "model.micro_batch_size", 0) == preset.layout.micro_batch
    assert values.number(settings.values, "model.seq_length", RECORDED["names"]["model.seq_length"]) == (
        preset.tokens_per_sample
    )
    assert values.number(settings.values, "model.tensor_model_parallel_size", 1) == preset.layout.tp


def test_versions_are_the_catalogs() -> None:
    assert RECORDED["commit"] == BIONEMO_COMMIT
    text = (FOLDER / "environment.txt").read_text(encoding="utf-8")
    assert f"hydra-core=={HYDRA}\n" in text
    assert f"transformers=={TRANSFORMERS}\n" in text


def test_the_batch_is_that_of_all_copies() -> None:
    sizes = ("model.micro_batch_size=64",)
    assert values.passes(sizes, 8192, 32) == 4
    assert values.passes((*sizes, "model.tensor_model_parallel_size=2"), 8192, 32) == 8
    assert values.passes(sizes, None, 32) == 1
    with pytest.raises(
        values.LayoutError, match="8192 does not divide into micro batches of 64 on 24 copies"
    ):
        values.passes(sizes, 8192, 24)
    with pytest.raises(values.LayoutError, match=r"9 ranks are no multiple of 2 \(tp 2 x pp 1\)"):
        values.passes(("model.tensor_model_parallel_size=2",), 8192, 9)
    with pytest.raises(ValueError, match="size=many: a number from 1"):
        values.passes(("model.micro_batch_size=many",), 8192, 8)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["model.hidden=64"],
            "BioNeMo's configuration has no 'model.hidden'; ++model.hidden=64 would add it",
        ),
        (["trainer.devices=4"], "'trainer.devices' follows from the run"),
        (["++exp_manager.exp_dir=/x"], "'exp_manager.exp_dir' follows from the run"),
        (["trainer.accumulate_grad_batches=2"], "follows from --global-batch and the number of ranks"),
        (["model.seq_length"], "'model.seq_length' is not NAME=VALUE"),
        (["--global-batch=0"], "'0' is not a whole number from 1"),
    ],
)
def test_what_hydra_would_refuse_is_an_error_before(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        options(words)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_a_name_may_be_added_and_the_command_refuses_an_unknown_one() -> None:
    assert options(["++create_dllogger_callbacks=True"]).values == ["++create_dllogger_callbacks=True"]
    preset = WORKLOAD.presets["esm1nv"]
    run = Run.on_type(
        WORKLOAD, preset, preset.instance_type, preset.nodes, extra_arguments=("model.hidden=64",)
    )
    [problem] = check_arguments(run)
    assert "BioNeMo's configuration has no 'model.hidden'" in problem.message


@pytest.mark.parametrize("type_", [GPU, "p4de.24xlarge"])
def test_fewer_nodes_keep_the_batch(type_: str) -> None:
    run = Run.on_type(WORKLOAD, WORKLOAD.presets["esm1nv"], type_, 2)
    assert [problem for problem in check_run(run) if problem.severity.name == "ERROR"] == []
    settings = options(run.arguments)
    assert values.passes(settings.values, settings.global_batch, run.ranks) == 2


def test_a_start_without_bionemo_or_proteins_ends_with_a_message(tmp_path: Path) -> None:
    absent = start("train.py", RUN_FOLDER=str(tmp_path), SYNTHETIC_PROTEINS=str(tmp_path / "none"))
    assert absent.returncode == 66
    assert "a stage makes them" in absent.stderr
    (tmp_path / "proteins" / "train").mkdir(parents=True)
    absent = start("train.py", RUN_FOLDER=str(tmp_path), SYNTHETIC_PROTEINS=str(tmp_path / "proteins"))
    assert absent.returncode == 69
    assert "bionemo or BIONEMO_HOME is missing" in absent.stderr
    assert start("train.py", RUN_FOLDER="").returncode == 2


def test_synthetic_proteins_have_the_form_of_bionemos_preparation(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "proteins"
    words = ("make_proteins.py", "synthetic", "--sequences=120")
    done = start(*words, SYNTHETIC_PROTEINS=str(folder))
    assert done.returncode == 0, done.stderr
    rows: dict[str, list[list[str]]] = {}
    for split in ("train", "val", "test"):
        # x[000..049]: 50 files, a header, and the sequence in column 3 from 0.
        files = sorted((folder / split).iterdir())
        assert [path.name for path in files] == [f"x{number:03d}.csv" for number in range(50)]
        rows[split] = []
        for path in files:
            with path.open(encoding="ascii") as text:
                header, *records = csv.reader(text)
            assert header == ["record_id", "record_name", "sequence_length", "sequence"]
            rows[split] += records
        assert [int(row[0]) for row in rows[split]] == list(range(120))
        for _, _, length, sequence in rows[split]:
            assert 40 <= int(length) == len(sequence) <= 510
            assert set(sequence) <= set("ACDEFGHIKLMNPQRSTVWY")
    assert rows["train"] != rows["val"]


def test_a_stage_that_is_started_again_makes_its_proteins_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "proteins"

    def rows() -> int:
        return sum(len(path.read_text().splitlines()) - 1 for path in (folder / "train").iterdir())

    for sequences in (50, 120):
        make_proteins.make(make_proteins.options(["synthetic", f"--sequences={sequences}"]), folder)
        assert rows() == sequences
    monkeypatch.setattr(make_proteins, "_record", lambda *_: sys.exit(143))
    with pytest.raises(SystemExit):
        make_proteins.make(make_proteins.options(["synthetic"]), folder)
    assert rows() == 120
    assert not [*tmp_path.glob("*unfinished*")]


@pytest.mark.parametrize(
    ("words", "secret", "expected"),
    [
        ((), {}, [{"source": "uniprot", "num_csv_files": 50}, ""]),
        (
            ("--source=ngc", "--ngc-org=ours"),
            {"NGC_CLI_API_KEY": "k"},
            [
                {
                    "source": "ngc",
                    "num_csv_files": 50,
                    "ngc_registry_target": "uniref50_2022_05",
                    "ngc_registry_version": "v23.06",
                },
                "ours",
            ],
        ),
    ],
    ids=["uniprot", "ngc"],
)
def test_uniref50_is_prepared_by_bionemo(
    words: tuple[str, ...], secret: dict[str, str], expected: object, home: Path, tmp_path: Path
) -> None:
    """A token comes from the secret's variable alone: no option takes one."""
    folder = tmp_path / "data" / "uniref50"
    variables = {"UNIREF50_PROTEINS": str(folder), **secret}
    absent = start("make_proteins.py", "uniref50", *words, **variables)
    assert absent.returncode == 69
    assert "No module named 'bionemo'; the workload's image has it" in absent.stderr
    done = start("make_proteins.py", "uniref50", *words, PYTHONPATH=str(home), **variables)
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "train" / "x000.csv").read_text(encoding="utf-8")) == expected
    assert not [*folder.parent.glob("*.download")], "the archive is removed"
    assert start("make_proteins.py", "uniref50", "--source=ngc", **variables).returncode == 2


def test_the_key_of_ngc_is_a_secret_of_every_format() -> None:
    [secret] = WORKLOAD.secrets
    assert (secret.name, secret.variable) == ("ngc", "NGC_CLI_API_KEY")
    assert not any("NGC_CLI_API_KEY" in " ".join(preset.arguments) for preset in WORKLOAD.presets.values())
