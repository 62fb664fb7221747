"""Help, completion and tables: what a person sees who does not know the command yet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.help_format import HelpFormatter
from cli.main import app
from cli.table import print_table
from tests.programs import ROOT

VERBS = (
    [],
    ["validate"],
    ["render"],
    ["launch"],
    ["connect"],
    ["catalog"],
    ["catalog", "list"],
    ["catalog", "show"],
    ["diagnose"],
    ["versions"],
    ["sweep"],
    ["profile"],
    ["profile", "report"],
)
"""The command and its verbs."""


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words), env={"COLUMNS": "80"})
    return result.exit_code, result.output


@pytest.mark.parametrize("verb", VERBS, ids=str)
def test_help_is_whole(verb: list[str]) -> None:
    """The framework ends what does not fit on a line of the list of commands with dots."""
    code, text = run(*verb, "-h")
    assert code == 0
    assert not [line for line in text.splitlines() if line.endswith("...") and not line.startswith("Usage")]
    assert text == run(*verb, "--help")[1]
    assert "\x1b[" not in text


def test_help_is_coloured_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    coloured = CliRunner().invoke(app, ["-h"], color=True).output
    assert "\x1b[1mOptions" in coloured
    assert "\x1b[36mvalidate" in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in CliRunner().invoke(app, ["-h"], color=True).output


@pytest.mark.parametrize(
    ("line", "expected", "absent"),
    [
        ("launch ", {"cpu-ddp", "fsdp"}, set()),
        ("launch fsdp --on ", {"hyperpod", "eks", "batch", "local"}, set()),
        ("launch fsdp --on h", {"hyperpod", "hyperpod_eks"}, {"eks"}),
        ("launch cpu-ddp --preset ", {"tiny", "reference"}, {"llama3-1-8b"}),
        ("launch fsdp --on batch --as ", {"batch"}, {"slurm"}),
        ("render fsdp --instance-type p5.", {"p5.48xlarge"}, {"p4d.24xlarge"}),
        ("render fsdp -c config/cpu.yaml --pool ", {"cpu", "spare"}, {"gpu"}),
        ("connect ", {"hyperpod", "parallelcluster"}, {"eks"}),
        ("connect hyperpod --node ", {"login", "controller", "gpu"}, set()),
        ("catalog show trn2", {"trn2.48xlarge"}, {"trn1.32xlarge"}),
    ],
)
def test_a_shell_completes_values(line: str, expected: set[str], absent: set[str]) -> None:
    words = f"trainforge {line}"
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv = ['trainforge']; from cli.main import main; main()"],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key != "TRAINFORGE_CONFIG"}
        | {
            "_TRAINFORGE_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    offered = set(done.stdout.split())
    assert expected <= offered, done.stderr
    assert not absent & offered


def test_completion_of_pools_without_a_configuration_offers_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cli.completion import pools

    class Context:
        params = {"config": str(tmp_path / "absent.yaml")}

    assert pools(Context(), "") == []  # type: ignore[arg-type]


def test_the_catalog_is_listed() -> None:
    code, text = run("catalog", "list", "h100")
    assert code == 0
    assert text.splitlines()[0].split("\t") == ["p5.48xlarge", "192", "2048", "8 x H100", "32", "yes"]
    entries = json.loads(run("catalog", "list", "P5.48", "--json")[1])
    assert entries == [
        {
            "type": "p5.48xlarge",
            "vcpus": 192,
            "memory_gib": 2048.0,
            "accelerators": "8 x H100",
            "efa_interfaces": 32,
            "hyperpod": True,
        }
    ]
    assert len(run("catalog", "list")[1].splitlines()) > 50
    code, text = run("catalog", "list", "h900")
    assert code == 2
    assert "no instance type of the catalog matches 'h900'" in text


def test_an_accelerator_for_a_type_names_the_types_that_have_it() -> None:
    code, text = run("catalog", "show", "H100")
    assert code == 2
    assert "instance type 'H100' is not in the catalog (types with 'H100': p5.48xlarge" in text


def test_workloads_are_listed_as_json() -> None:
    entries = {entry["workload"]: entry for entry in json.loads(run("render", "--list", "--json")[1])}
    assert {"cpu-ddp", "fsdp"} <= entries.keys()
    assert {"format", "proof", "what_ran"} == entries["cpu-ddp"]["formats"][0].keys()
    assert {"name", "nodes", "instance_type", "arguments", "environment", "on"} == (
        entries["cpu-ddp"]["presets"][0].keys()
    )
    assert run("render", "cpu-ddp", "--json")[0] == 2


def test_a_table_is_drawn_on_a_terminal_and_plain_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    print_table(("Kind", "Id"), [("head", "i-1"), ("login", "i\x1b[2J")])
    assert capsys.readouterr().out == "head\ti-1\nlogin\ti\\x1b[2J\n"
    monkeypatch.setenv("FORCE_COLOR", "1")
    print_table(("Kind", "Id"), [("head", "i-1")])
    drawn = capsys.readouterr().out
    assert "Kind" in drawn
    assert "┃" in drawn
    monkeypatch.setenv("COLUMNS", "24")
    print_table(("Kind", "Id"), [("head-and-login", "i-0123456789abcdef0")])
    drawn = capsys.readouterr().out
    cells = [line.split("│")[1:3] for line in drawn.splitlines() if line.startswith("│")]
    assert ["".join(cell.strip() for cell in column) for column in zip(*cells, strict=True)] == [
        "head-and-login",
        "i-0123456789abcdef0",
    ]
    print_table(("Kind", "Id"), [], empty="the cluster has no node")
    assert "the cluster has no node" in capsys.readouterr().out


@pytest.mark.parametrize("width", range(60, 101))
def test_no_line_of_a_text_ends_inside_an_option(width: int) -> None:
    formatter = HelpFormatter(width=width)
    formatter.write_text("Words stay whole. '--stage NAME' launches one alone.\n\n" + "'--stage' " * 30)
    lines = formatter.getvalue().split("\n")
    assert all(len(line) < width + 1 for line in lines)
    assert not [line for line in lines if line.endswith(("'--", "-", " '")) or line.strip() == "'"]


def test_the_module_runs_the_command() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "cli.main", "--version"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.stdout.startswith("trainforge ")
