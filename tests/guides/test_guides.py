"""Every command of the guides is run: AWS and CDK against the emulator, Slurm on a real one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import pytest

from emulator.server import Emulator
from tests.deploy.chart_definitions import CHART_DEFINITIONS
from tests.guides.expectation import missing
from tests.guides.guide import Command, GuideFile, Step, continued_page, read_guide
from tests.guides.stage import Stage, node_names
from tests.programs import ROOT, require_module, require_program
from tests.slurm.cluster import SlurmCluster

FENCE = "```console"
PAGES = {
    path: continued_page(path)
    for path in sorted((ROOT / "docs").glob("*.md"))
    if FENCE in path.read_text(encoding="utf-8")
}
"""The pages with commands, each with the page that it continues."""


def following(page: Path) -> list[Path]:
    """Return a page, and the pages that continue it, in order."""
    return [page, *(each for path, before in PAGES.items() if before == page for each in following(path))]


GUIDES = {
    page.relative_to(ROOT).as_posix(): following(page) for page, before in PAGES.items() if before is None
}
"""Each guide with its pages: what one page leaves behind, the next one finds."""
ALWAYS = "docs/hyperpod.md"
"""The guide that is run with the fast tests. Each takes a minute or two, and deploy tests cover their stacks."""
PROGRAMS = {
    "bash": "every Unix has it",
    "git": "Debian and Ubuntu have it: apt-get install git",
    "node": "'make setup' installs it",
    "cdk": "'make setup' installs it",
    "aws": "'make setup-dev' installs it",
}
_TAIL = 4000
_SECONDS = 1800
"""For one guide, in place of the limit of all tests: the longest takes nine minutes where cores are busy, and a command
that hangs is ended by its shell."""


@pytest.mark.timeout(_SECONDS)
@pytest.mark.parametrize(
    "name", [name if name == ALWAYS else pytest.param(name, marks=pytest.mark.heavy) for name in GUIDES]
)
def test_guide(
    name: str,
    artifacts: Callable[[str], Path],
    cdk_app: str,
    record_property: Callable[[str, object], None],
) -> None:
    for program, hint in PROGRAMS.items():
        require_program(program, hint)
    require_module("torch", "make setup-train installs it")
    steps = [(f"docs/{page.name}", step) for page in GUIDES[name] for step in read_guide(page)]
    commands = [step for _, step in steps if isinstance(step, Command)]
    left_out = [command for command in commands if command.not_run]
    run = [command for command in commands if not command.not_run]
    folder = artifacts(f"guide-{Path(name).stem}")
    with (
        Emulator(log=folder / "emulator.log", definitions=CHART_DEFINITIONS) as emulator,
        SlurmCluster(folder / "slurm", node_names()) as slurm,
    ):
        stage = Stage(folder, emulator, slurm, cdk_app)
        with (folder / "transcript.log").open("w", encoding="utf-8", buffering=1) as transcript:
            for page, step in steps:
                _play(stage, step, page, transcript)
        _check_sessions(stage, emulator, run)
    print(f"\n{name}: {len(run)} commands run, {len(left_out)} not run")
    for command in left_out:
        print(f"  line {command.line}: {command.text.splitlines()[0]}: {command.not_run}")
    record_property("commands_run", len(run))
    record_property("commands_not_run", len(left_out))
    assert run, f"{name} has console blocks and no command that is run"


def _play(stage: Stage, step: Step, page: str, transcript: TextIO) -> None:
    where = f"{page}:{step.line}"
    if isinstance(step, GuideFile):
        stage.write(step.machine, step.path, step.text)
        return
    if step.not_run:
        transcript.write(f"# {where}: not run: {step.not_run}\n")
        return
    answer = stage.run(step.machine, step.text)
    transcript.write(f"# {where} ({step.machine})\n$ {step.text}\n{answer.output}\n")
    tail = answer.output[-_TAIL:]
    assert answer.code == 0, f"{where}: '{step.text}' ended with code {answer.code}:\n{tail}"
    absent = missing(step.output, answer.output)
    assert not absent, f"{where}: '{step.text}' did not print\n" + "\n".join(absent) + f"\nbut\n{tail}"


def _starts_session(command: Command) -> bool:
    if "trainforge connect" in command.text:
        return not any(word in command.text for word in ("--dry-run", "--list", "--ssh-config"))
    return "ssm start-session" in command.text


def _check_sessions(stage: Stage, emulator: Emulator, run: list[Command]) -> None:
    """Compare each session with what the emulator holds: the plugin got its answer, for the right document."""
    sessions = stage.sessions()
    assert len(sessions) == sum(map(_starts_session, run))
    for session in sessions:
        assert session.operation == "StartSession"
        assert session.region == emulator.region
        assert session.answer["StreamUrl"].startswith(f"wss://ssmmessages.{emulator.region}.")
        assert session.answer["SessionId"] in session.answer["StreamUrl"]
        assert session.request["Target"].startswith(("sagemaker-cluster:", "i-"))
        assert session.request["DocumentName"]


def test_every_guide_can_be_read() -> None:
    """With the fast tests: a block of commands without prompts is found before its guide runs."""
    for page in PAGES:
        assert read_guide(page), page.name
    assert sorted(page for pages in GUIDES.values() for page in pages) == list(PAGES), (
        "each page is in one guide"
    )
