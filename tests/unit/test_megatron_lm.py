"""The workload megatron-lm without its framework: options, sizes, versions, starts of its programs, stages."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import json
import lzma
import shutil
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from catalog.versions import MEGATRON_CORE, MEGATRON_LM, MEGATRON_LM_COMMIT
from tests.conftest import ROOT
from workloads.megatron_lm.megatron_launch import processor_options
from workloads.megatron_lm.megatron_launch.folders import ASSETS, with_folders
from workloads.preset import Preset
from workloads.program_arguments import check_arguments
from workloads.registry import workload
from workloads.spec import Run

FOLDER = ROOT / "workloads" / "megatron_lm"
PRESETS = workload("megatron-lm").presets
BILLIONS = {
    "gpt3-1-7b": 1.7,
    "gpt3-7-5b": 7.5,
    "gpt3-39b": 39.1,
    "gpt3-175b": 175,
    "llama2-7b": 6.74,
    "llama2-13b": 13.0,
    "llama2-70b": 69.0,
    "llama3-8b": 8.03,
    "llama3-70b": 70.6,
}
"""Weights by preset, in billions, as the models' makers give them."""


@functools.cache
def module(name: str) -> ModuleType:
    """Return a module with the options of one of Megatron-LM's programs, imported as the command does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(FOLDER), str(ROOT / "workloads" / "runtime"), *sys.path])
        return importlib.import_module(name)


def refused(words: Sequence[str], of: str = "megatron_options") -> str:
    """Return what a program of Megatron-LM would refuse of a command line; empty: nothing."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            module(of).options(list(words))
    except SystemExit:
        return printed.getvalue().rpartition(": error: ")[2].strip()
    return ""


def option(preset: Preset, name: str) -> int:
    """Return the number that an option of a preset has."""
    (value,) = (word.partition("=")[2] for word in preset.arguments if word.startswith(f"--{name}="))
    return int(value)


def test_the_options_are_of_the_commit_in_the_image() -> None:
    recorded = module("megatron_options").recorded()
    assert (recorded["tag"], recorded["commit"]) == (MEGATRON_LM, MEGATRON_LM_COMMIT)


@pytest.mark.parametrize("name", PRESETS)
def test_megatron_takes_the_options_of_every_preset(name: str) -> None:
    preset = PRESETS[name]
    assert refused(preset.arguments) == ""
    assert len({word.partition("=")[0] for word in preset.arguments}) == len(preset.arguments)
    assert refused(preset.stages.get("preprocess", ()), "preprocess_options") == ""


WRONG = {
    "--num-layer=2": "unrecognized arguments: --num-layer=2",
    "--num-layers=two": "argument --num-layers: invalid int value: 'two'",
    "--lr=fast": "argument --lr: invalid float value: 'fast'",
    "--swiglu=yes": "argument --swiglu: ignored explicit argument 'yes'",
    "--transformer-impl=best": "argument --transformer-impl: invalid choice: 'best'",
    # A number of samples, or a batch that grows with it.
    "--train-samples=1000": "argument --train-samples: Megatron-LM refuses it beside --train-iters",
    "--rampup-batch-size 32 32 1000": "argument --rampup-batch-size: Megatron-LM refuses it beside --train-iters",
}
"""Wrong words after `--`, and what is said of each before anything starts."""


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_option_is_found_before_anything_starts(words: str) -> None:
    found = workload("megatron-lm")
    preset = found.presets["gpt3-1-7b"]
    run = Run.on_type(found, preset, preset.instance_type, preset.nodes, extra_arguments=tuple(words.split()))
    (finding,) = check_arguments(run)
    assert WRONG[words] in finding.message


@pytest.mark.parametrize("words", ["--workers=8", "--train-iters=8", "--append-eod=yes"])
def test_a_stage_takes_the_options_of_its_own_program(words: str) -> None:
    assert bool(refused([words], "preprocess_options")) == (words != "--workers=8")


@pytest.mark.parametrize("name", PRESETS)
def test_the_layout_repeats_the_options(name: str) -> None:
    preset = PRESETS[name]
    layout = preset.layout
    assert layout is not None
    assert option(preset, "tensor-model-parallel-size") == layout.tp
    if name != "tiny":
        assert option(preset, "pipeline-model-parallel-size") == layout.pp
        assert option(preset, "context-parallel-size") == layout.cp
        assert option(preset, "num-layers") % layout.pp == 0
        assert layout.works(8 * preset.nodes, preset.global_batch)
    assert option(preset, "micro-batch-size") == layout.micro_batch
    assert option(preset, "global-batch-size") == preset.global_batch
    assert option(preset, "seq-length") == preset.tokens_per_sample


@pytest.mark.parametrize("name", BILLIONS)
def test_a_model_has_the_weights_that_its_name_says(name: str) -> None:
    """The FFN's size decides: Megatron-LM's default of four times the hidden size is not Llama's."""
    preset = PRESETS[name]
    hidden, heads = option(preset, "hidden-size"), option(preset, "num-attention-heads")
    grouped = "--group-query-attention" in preset.arguments
    groups = option(preset, "num-query-groups") if grouped else heads
    attention = hidden * hidden * (2 + 2 * groups / heads)
    matrices = 3 if "--swiglu" in preset.arguments else 2
    layer = attention + matrices * hidden * option(preset, "ffn-hidden-size")
    embeddings = 2 if "--untie-embeddings-and-output-weights" in preset.arguments else 1
    # NullTokenizer adds a token.
    weights = option(preset, "num-layers") * layer + embeddings * hidden * (option(preset, "vocab-size") + 1)
    assert weights / 1e9 == pytest.approx(BILLIONS[name], rel=0.04)


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "tiny"])
def test_a_preset_has_what_the_readme_says_of_all(name: str) -> None:
    preset = PRESETS[name]
    assert {"--use-distributed-optimizer", "--bf16", "--recompute-activations"} <= set(preset.arguments)
    assert ("--sequence-parallel" in preset.arguments) == (option(preset, "tensor-model-parallel-size") > 1)


ROPE_BASES = {"gpt3": None, "llama2": None, "llama3": "500000"}
"""Bases of rotary positions by family, where they are not Megatron-LM's default of 10000.

Llama 2: the default of precompute_freqs_cis (meta-llama/llama3 at 0a3d717, llama/model.py, of before Llama 3's change).
Llama 3: rope_theta of all its sizes in torchtitan 0.2.2, torchtitan/models/llama3/__init__.py.
"""


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "tiny"])
def test_a_family_has_the_published_positions_and_norms(name: str) -> None:
    words = dict(word.partition("=")[::2] for word in PRESETS[name].arguments)
    family = name.partition("-")[0]
    assert words.get("--rotary-base") == ROPE_BASES[family]
    assert words["--position-embedding-type"] == ("learned_absolute" if family == "gpt3" else "rope")
    # ModelArgs.norm_eps of the same file; GPT-3's layer norm has Megatron-LM's default.
    assert words.get("--norm-epsilon") == (None if family == "gpt3" else "1e-5")


@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("llama")])
def test_models_of_70b_have_half_the_rate_of_smaller_ones(name: str) -> None:
    words = dict(word.partition("=")[::2] for word in PRESETS[name].arguments)
    rate = 1.5e-4 if "-70b" in name else 3e-4
    assert float(words["--lr"]) == rate
    assert float(words["--min-lr"]) == pytest.approx(rate / 10)


def test_the_versions_are_the_catalogs() -> None:
    text = (FOLDER / "megatron-lm.txt").read_text(encoding="utf-8")
    assert text == f"{MEGATRON_LM} {MEGATRON_LM_COMMIT}\n"
    assert f"megatron-core=={MEGATRON_CORE}\n" in (FOLDER / "environment.txt").read_text(encoding="utf-8")


@pytest.fixture
def pretrain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The module that starts Megatron-LM's programs, and a checkout whose program ends as its first argument says."""
    monkeypatch.setattr(sys, "path", [str(FOLDER), str(ROOT / "workloads" / "runtime"), *sys.path])
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setenv("MEGATRON_LM", str(tmp_path))
    (tmp_path / "beside.py").write_text("CODES = {'stop': 0, 'fail': 1}\n", encoding="utf-8")
    (tmp_path / "pretrain_gpt.py").write_text(
        "import sys\nfrom beside import CODES\nassert __name__ == '__main__'\n"
        "if sys.argv[1:] and sys.argv[1] != 'go': sys.exit(CODES.get(sys.argv[1], 0))\n",
        encoding="utf-8",
    )
    from workloads.megatron_lm.megatron_launch import pretrain as module

    yield module
    sys.modules.pop("beside", None)


def test_a_run_ends_with_the_code_of_its_program(pretrain: ModuleType) -> None:
    assert pretrain.run("pretrain_gpt.py", ["go"]) == 0
    # Something stopped it and it has saved: another start continues.
    assert pretrain.run("pretrain_gpt.py", ["stop"]) == 75
    for words, code in ((["fail"], 1), (["--help"], 0)):
        with pytest.raises(SystemExit) as ended:
            pretrain.run("pretrain_gpt.py", words)
        assert ended.value.code == code


@pytest.mark.parametrize(
    "option",
    [
        "--context-parallel-size=2",
        "--pipeline-model-parallel-size=2",
        "--bf16",
        "--tokenizer-type=GPT2BPETokenizer",
    ],
)
def test_an_option_that_needs_a_gpu_is_final_without_one(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The launch guard takes the exit code 2 of a rank for final."""
    words = ["--save=checkpoints", "--load=checkpoints", *PRESETS["tiny"].arguments]
    assert processor_options.options(words).tensor_model_parallel_size == 1
    with pytest.raises(SystemExit) as ended:
        processor_options.options([*words, option])
    assert ended.value.code == 2
    assert option.partition("=")[0] in capsys.readouterr().err


def test_without_megatron_a_start_is_final(
    pretrain: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pretrain.run("tools/preprocess_data.py", []) == 2
    assert "has no tools/preprocess_data.py" in capsys.readouterr().err
    monkeypatch.delenv("MEGATRON_LM")
    assert pretrain.run("pretrain_gpt.py", []) == 2


def test_the_stages_are_of_the_presets_on_text() -> None:
    on_text = {name for name, preset in PRESETS.items() if preset.stages}
    assert on_text == {name for name in PRESETS if name.endswith("-oscar")}
    stages = workload("megatron-lm").stages
    assert [stage.name for stage in stages] == ["download", "preprocess"]
    assert all(set(stage.presets or ()) == on_text for stage in stages)
    assert tuple(asset.variable for asset in workload("megatron-lm").assets) == ASSETS


@pytest.mark.parametrize("name", [name for name in PRESETS if name.endswith("-oscar")])
def test_training_reads_what_the_stage_writes(name: str) -> None:
    preset = PRESETS[name]
    words = dict(word.split("=", 1) for word in preset.stages["preprocess"] if "=" in word)
    assert f"--data-path={words['--output-prefix']}_text_document" in preset.arguments
    tokenizer = [*takewhile(lambda word: not word.startswith("--input"), preset.stages["preprocess"])]
    assert set(tokenizer) <= set(preset.arguments)
    assert "--mock-data" not in preset.arguments


def test_the_stage_tokenizes_by_megatrons_program(
    pretrain: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / pretrain.PREPROCESS
    program.parent.mkdir()
    written = (
        "import json, sys\n"
        "prefix = sys.argv[-1].partition('=')[2]\n"
        "json.dump(sys.argv[1:], open(prefix + '_text_document.bin', 'w'))\n"
    )
    program.write_text(written, encoding="utf-8")
    tokens = tmp_path / "shared" / "tokens"
    monkeypatch.setenv("TOKENS_FOLDER", str(tokens))
    monkeypatch.setenv("CORPUS_FOLDER", "/shared/corpus")
    words = PRESETS["gpt3-7-5b-oscar"].stages["preprocess"]
    monkeypatch.setattr(sys, "argv", ["preprocess.py", *words])
    from workloads.megatron_lm import preprocess

    assert preprocess.main() == 0
    result = tokens / "gpt3" / "gpt3_text_document.bin"
    passed = json.loads(result.read_text(encoding="utf-8"))
    assert len(passed) == len(words) + 1
    assert {f"--output-prefix={tokens}/gpt3/gpt3", "--input=/shared/corpus/oscar-1GB.jsonl"} <= {*passed}
    # Started again with other words: all is made anew. One that fails, or writes nothing, replaces nothing.
    monkeypatch.setattr(sys, "argv", ["preprocess.py", *words, "--workers=1"])
    assert preprocess.main() == 0
    assert json.loads(result.read_text(encoding="utf-8"))[-2] == "--workers=1"
    for end, code in (("", 1), ("import sys; sys.exit(0)", 1), (f"{written}\nsys.exit(3)", 3)):
        program.write_text(end, encoding="utf-8")
        with pytest.raises(SystemExit) as failed:
            preprocess.main()
        assert failed.value.code == code
        assert json.loads(result.read_text(encoding="utf-8"))[-2] == "--workers=1"
    monkeypatch.setattr(sys, "argv", ["preprocess.py", "--output-prefix", "{TOKENS_FOLDER}/mine"])
    assert preprocess.main() == 2
    monkeypatch.delenv("TOKENS_FOLDER")
    assert preprocess.main() == 2


def test_folders_take_their_place_in_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENS_FOLDER", "/shared/tokens")
    monkeypatch.setenv("CORPUS_FOLDER", "/shared/corpus")
    words = ["--data-path={TOKENS_FOLDER}/a", "{OTHER}", "--vocab-file={CORPUS_FOLDER}/b"]
    assert with_folders(words) == ["--data-path=/shared/tokens/a", "{OTHER}", "--vocab-file=/shared/corpus/b"]


@pytest.fixture
def download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The stage's module, with addresses of files here that are right."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "workloads" / "runtime"), *sys.path])
    from workloads.megatron_lm import download as module

    def hf_hub_download(_repository: str, file: str, *, local_dir: Path, **_more: object) -> None:
        place = Path(local_dir) / file
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / Path(file).name, place)

    def repo_info(repository: str, **asked: object) -> SimpleNamespace:
        return SimpleNamespace(sha=f"{asked['revision'] or 'newest'} of {repository}")

    stub = SimpleNamespace(
        hf_hub_download=hf_hub_download, HfApi=lambda: SimpleNamespace(repo_info=repo_info)
    )
    monkeypatch.setitem(sys.modules, "huggingface_hub", stub)
    monkeypatch.setattr(sys, "argv", ["download.py", "--vocabulary-revision=v1"])
    (tmp_path / "text.xz").write_bytes(lzma.compress(b'{"text": "a"}\n{"text": "b"}\n'))
    (tmp_path / "words").write_text(json.dumps({str(n): n for n in range(module.WORDS)}), encoding="utf-8")
    (tmp_path / "merges").write_text("#version: 0.2\n", encoding="utf-8")
    here = ("stas/text.xz", "words", "merges")
    files = {
        name: (repository, file, right)
        for (name, (repository, _, right)), file in zip(module.FILES.items(), here, strict=True)
    }
    monkeypatch.setattr(module, "FILES", files)
    monkeypatch.setenv("CORPUS_FOLDER", str(tmp_path / "corpus"))
    return module


def test_the_download_unpacks_and_replaces_what_is_there(download: ModuleType, tmp_path: Path) -> None:
    download.main()
    corpus = tmp_path / "corpus"
    assert (corpus / "oscar-1GB.jsonl").read_text(encoding="utf-8") == '{"text": "a"}\n{"text": "b"}\n'
    assert {path.name for path in corpus.iterdir()} == {*download.FILES, "revisions.json"}
    revisions = json.loads((corpus / "revisions.json").read_text(encoding="utf-8"))
    assert revisions == {
        name: f"{given} of {name}" for name, given in ((download.TEXT, "newest"), (download.VOCABULARY, "v1"))
    }
    (corpus / "oscar-1GB.jsonl").write_text("damaged", encoding="utf-8")
    download.main()
    assert (corpus / "oscar-1GB.jsonl").read_text(encoding="utf-8").startswith('{"text": "a"}')
    # What comes is no text: the one before is kept.
    (tmp_path / "text.xz").write_bytes(lzma.compress(b"<html>"))
    with pytest.raises(Exception, match=r"is not what 'oscar-1GB.jsonl' should be"):
        download.main()
    assert (corpus / "oscar-1GB.jsonl").read_text(encoding="utf-8").startswith('{"text": "a"}')
    assert {path.name for path in corpus.iterdir()} == {*download.FILES, "revisions.json", ".fetched"}


@pytest.mark.parametrize(
    ("name", "content"),
    [("words", b"{}"), ("merges", b"<html>"), ("text.xz", b"no archive"), ("text.xz", lzma.compress(b"x\n"))],
)
def test_another_content_is_refused(download: ModuleType, tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Exception, match=f"{name}'") as refused:
        download.main()
    assert type(refused.value).__name__ == "TrainingError"
    left = {path.name for path in (tmp_path / "corpus").iterdir()}
    assert {"words": "gpt2-vocab.json", "merges": "gpt2-merges.txt", "text.xz": "oscar-1GB.jsonl"}[
        name
    ] not in left
