"""The stages of neuronx-distributed around the training: tokens of documents, shards, and the way back to one file.

A stub takes the place of NxD's sources: it writes its command line, and the files that the converter makes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.nxd_modules import FOLDER, RUNTIME
from workloads import registry

import make_tokens  # isort: skip

WORKLOAD = registry.workload("neuronx-distributed")
STUB = """
import getpass, json, pathlib, sys
from huggingface_hub import login
words = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:])
if "hf_model_name" in words:
    login(token=getpass.getpass("a token: "))
target = pathlib.Path(words["output_dir"])
target.mkdir(parents=True, exist_ok=True)
(target / "words.json").write_text(json.dumps(words))
(target / "model").mkdir(exist_ok=True)
for tensor in range(int(words["tp_size"])):
    for pipeline in range(int(words["pp_size"])):
        name = f"dp_rank_00_tp_rank_{tensor:02d}_pp_rank_{pipeline:02d}.pt"
        (target / "model" / name).touch()
"""
HUB = """
from types import SimpleNamespace

class HfApi:
    def repo_info(self, repository, *, revision, repo_type):
        return SimpleNamespace(sha=f"{revision or 'newest'} of {repository}")

def snapshot_download(repository, *, revision, **_more):
    return f"/hub/{repository}/{revision}"

def login(token):
    raise PermissionError("a token is stored on the node")
"""
"""A stub of huggingface_hub."""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder with the stub of the converter and of the program for 8B, and a module of NxD's name."""
    llama = tmp_path / "nxd" / "examples" / "training" / "llama"
    program = llama / "tp_zero1_llama_hf_pretrain" / "tp_zero1_llama_hf_pretrain.py"
    program.parent.mkdir(parents=True)
    (llama / "convert_checkpoints.py").write_text(STUB, encoding="utf-8")
    program.write_text(
        "import json, os, sys\nprint(json.dumps([sys.argv[1:], dict(os.environ)]))\n", encoding="utf-8"
    )
    (tmp_path / "nxd" / "neuronx_distributed.py").touch()
    (tmp_path / "nxd" / "huggingface_hub.py").write_text(HUB, encoding="utf-8")
    return tmp_path / "nxd"


def start(program: str, sources: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, program, *words],
        cwd=FOLDER,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(sources), str(RUNTIME)]),
            "NXD_SOURCES": str(sources),
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("preset", "folder", "count"),
    [("8b-continued", "llama3-8b-tp32-pp1", 32), ("70b-continued", "llama3-70b-tp32-pp8", 256)],
)
def test_weights_become_a_shard_for_each_rank_of_a_copy(
    preset: str, folder: str, count: int, sources: Path, tmp_path: Path
) -> None:
    words = WORKLOAD.presets[preset].stages["convert"]
    done = start("convert.py", sources, *words, WEIGHTS_FOLDER=str(tmp_path / "weights"))
    assert done.returncode == 0, done.stderr
    made = tmp_path / "weights" / folder
    assert len([*(made / "model").glob("*.pt")]) == count
    received = json.loads((made / "words.json").read_text(encoding="utf-8"))
    name = f"meta-llama/Meta-Llama-3-{preset.partition('-')[0].upper()}"
    assert received["hf_model_name"] == f"/hub/{name}/newest of {name}"
    revisions = json.loads((made / "revisions.json").read_text(encoding="utf-8"))
    assert revisions == {name: f"newest of {name}"}
    assert "convert_from_full_state" in received
    (made / "words.json").unlink()
    again = start("convert.py", sources, *words, WEIGHTS_FOLDER=str(tmp_path / "weights"))
    assert f"{count} shards are in {made}" in again.stdout
    assert (made / "words.json").exists(), "a stage that is started converts anew"
    # A converter that leaves out a shard, and one that says so by its exit code: the shards before are kept.
    converter = sources / "examples" / "training" / "llama" / "convert_checkpoints.py"
    for end, code in (("next((target / 'model').iterdir()).unlink(); sys.exit(0)", 1), ("sys.exit(3)", 3)):
        converter.write_text(f"{STUB}\n{end}\n", encoding="utf-8")
        failed = start("convert.py", sources, *words, WEIGHTS_FOLDER=str(tmp_path / "weights"))
        assert failed.returncode == code, failed.stderr
        assert len([*(made / "model").glob("*.pt")]) == count


def test_the_newest_whole_checkpoint_becomes_one_file(sources: Path, tmp_path: Path) -> None:
    checkpoints = tmp_path / "run" / "checkpoints"
    for step in ("step_100", "step_200"):
        (checkpoints / step / "model").mkdir(parents=True)
        (checkpoints / step / "done").touch()
    (checkpoints / "step_300").mkdir()
    words = WORKLOAD.presets["70b-export"].arguments
    done = start("train.py", sources, *words, RUN_FOLDER=str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    exported = tmp_path / "run" / "exported" / "step_200"
    received = json.loads((exported / "words.json").read_text(encoding="utf-8"))
    assert received["input_dir"] == str(checkpoints / "step_200" / "model")
    assert (received["tp_size"], received["pp_size"]) == ("32", "8")
    assert "convert_to_full_state" in received


def test_training_begins_with_the_shards_and_has_the_variables_of_nxds_script(
    sources: Path, tmp_path: Path
) -> None:
    words = WORKLOAD.presets["8b-continued"].arguments
    variables = {"RUN_FOLDER": str(tmp_path / "run"), "WEIGHTS_FOLDER": str(tmp_path / "weights")}
    ranks = {"WORLD_SIZE": "128", "LOCAL_WORLD_SIZE": "32", "MASTER_ADDR": "node-0", "MASTER_PORT": "29500"}
    refused = start("train.py", sources, *words, **variables, **ranks)
    assert refused.returncode == 66
    assert "the stage 'convert' makes them" in refused.stderr
    shards = tmp_path / "weights" / "llama3-8b-tp32-pp1"
    shards.mkdir(parents=True)
    done = start("train.py", sources, *words, **variables, **ranks)
    assert done.returncode == 0, done.stderr
    received, environment = json.loads(done.stdout)
    assert "--pretrained_weight" in received
    assert "--grad_accum_usteps=256" in received
    assert (tmp_path / "run" / "checkpoints" / "pretrained_weight").resolve() == shards
    assert environment["NEURON_RT_ROOT_COMM_ID"] == "node-0:31500"
    assert environment["NEURON_RT_NUM_CORES"] == "32"
    assert environment["NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS"] == "3"


def test_documents_are_packed_into_sequences_of_one_length() -> None:
    packed = make_tokens.packed([[1, 2, 3], [4, 5, 6], [7, 8, 9]], 4)
    assert [*packed] == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_tokens_that_are_not_finished_leave_no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def from_generator(_rows: object, *, cache_dir: str, **_more: object) -> None:
        Path(cache_dir).mkdir()
        raise OSError("no space")

    stub = SimpleNamespace(Dataset=SimpleNamespace(from_generator=from_generator))
    monkeypatch.setitem(sys.modules, "datasets", stub)
    with pytest.raises(OSError, match="no space"):
        make_tokens.make(make_tokens.options(["synthetic"]), tmp_path / "tokens")
    assert not [*tmp_path.iterdir()]


def test_each_document_of_c4_ends_with_the_models_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tokenizers, datasets = pytest.importorskip("tokenizers"), pytest.importorskip("datasets")
    words = {"<|end_of_text|>": 0, "a": 1, "b": 2, "?": 3}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="?"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    asked = SimpleNamespace(words=())

    def load_dataset(*names: str, **_more: object) -> list[dict[str, str]]:
        asked.words = names
        return [{"text": "a b"}, {"text": "b c"}]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    settings = make_tokens.options(
        ["c4", f"--tokenizer={tmp_path / 'tokenizer.json'}", "--sequence-length=3"]
    )
    assert [*make_tokens.generated(settings)] == [
        {"input_ids": row, "attention_mask": [1, 1, 1], "labels": row} for row in ([1, 2, 0], [2, 3, 0])
    ]
    assert asked.words == ("allenai/c4", "en")
