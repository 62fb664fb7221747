"""The demo: deploys a configuration to the embedded emulator with the real CDK CLI, updates it, destroys it.

`python -m tests.demo [--config FILE]`, or `make demo`. It needs no AWS account and no network, and
leaves nothing running. With the programs of a Kubernetes control plane (KUBEBUILDER_ASSETS), EKS clusters have one, and
a job runs there in place of the update.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from emulator.cdk import ROOT, Cdk, CdkError
from emulator.inventory import inventory, left_over
from emulator.resources.resource import Kind
from emulator.server import Emulator, EmulatorError, LedgerStack
from settings.deployment import Settings
from settings.loaded_config import read
from settings.report import report
from tests.demo import kubernetes_demo
from tests.demo.progress import Progress
from tests.deploy.chart_definitions import CHART_DEFINITIONS

DEFAULT_CONFIGURATION = "config/default.yaml"
TOOLKIT = "CDKToolkit"
_CDK_SECONDS = 900.0
"""A control plane and its controllers take their time to start on a loaded machine."""

_INTERRUPTED = 130
_USER_MISTAKE = 2
_COLUMNS = {
    Kind.CREATED: "created",
    Kind.ANSWERED: "answered by the emulator",
    Kind.RECORDED: "recorded only",
}


class Interrupted(Exception):
    """Ctrl-C, or the signal to end."""


def main(arguments: list[str] | None = None) -> int:
    """Run the demo.

    Returns 0 when everything was deployed and destroyed and nothing is left, 1 when not, 2 for a mistake in
    the arguments, 130 when interrupted.
    """
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("-c", "--config", default=DEFAULT_CONFIGURATION, help="configuration file to deploy")
    parser.add_argument(
        "--stack", help="stack to deploy, with those it needs (default: HyperPodStack, or all)"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep logs and templates in DIR")
    parser.add_argument(
        "--app", metavar="COMMAND", help="program that synthesizes (default: app.py, as in cdk.json)"
    )
    options = parser.parse_args(arguments)
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    configuration = Path(options.config).resolve()
    if not configuration.is_file():
        print(f"error: there is no configuration '{options.config}'; config/ holds examples", file=sys.stderr)
        return _USER_MISTAKE
    reading = read(configuration)
    if reading.findings:
        print(report(reading.findings, options.config), file=sys.stderr)
    if reading.settings is None or not reading.ok:
        return _USER_MISTAKE
    stacks = [options.stack] if options.stack else _stacks(reading.settings)
    if shutil.which("cdk", path=f"{ROOT / 'node_modules' / '.bin'}:{os.environ['PATH']}") is None:
        print("error: program 'cdk' is not installed; 'make setup' installs it", file=sys.stderr)
        return _USER_MISTAKE
    folder: Path = (options.keep or Path(tempfile.mkdtemp(prefix="trainforge-demo-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _interruptible():
            if options.stack is None and _on_kubernetes(console, reading.settings):
                left = run_on_kubernetes(console, configuration, reading.settings, folder, options.app)
            else:
                left = run(console, configuration, reading.settings.region, stacks, folder, options.app)
    except Interrupted:
        _discard(folder, options.keep)
        console.print("interrupted: the emulator is stopped and nothing is left running")
        return _INTERRUPTED
    except (CdkError, EmulatorError, kubernetes_demo.DemoError) as error:
        console.print(f"[red]failed:[/red] {escape(str(error))}")
        return 1
    _discard(folder, options.keep)
    if left:
        return 1
    _next(console, options.config, stacks)
    return 0


def _next(console: Console, configuration: str, stacks: list[str]) -> None:
    """Say which commands to try next, ready to be copied."""
    chosen = "" if configuration == DEFAULT_CONFIGURATION else f" -c config={shlex.quote(configuration)}"
    deploy = f"npx cdk deploy {' '.join(stacks) or '--all'}{chosen}"
    console.print("[bold]next[/bold]")
    for purpose, command in (
        ("check a configuration", f".venv/bin/trainforge validate -c {shlex.quote(configuration)}"),
        ("deploy it to AWS", f"source .venv/bin/activate && npx cdk bootstrap && {deploy}"),
    ):
        console.print(f"  {purpose}: {escape(command)}", soft_wrap=True)


def _discard(folder: Path, keep: Path | None) -> None:
    if keep is None:
        shutil.rmtree(folder, ignore_errors=True)


def _stacks(settings: Settings) -> list[str]:
    """Return HyperPodStack where the configuration has that cluster; otherwise none, which means all."""
    return ["HyperPodStack"] if settings.hyperpod else []


def run(
    console: Console,
    configuration: Path,
    region: str,
    stacks: list[str],
    folder: Path,
    app: str | None = None,
) -> bool:
    """Deploy `stacks` (none: all), show, update, destroy; return whether something is left that should not be.

    Raises:
        CdkError: the CLI failed.
        EmulatorError: the emulator could not be started.
    """
    context = [f"config={os.path.relpath(configuration, ROOT)}"]
    console.print("[bold]emulator[/bold] starts ...")
    with Emulator(region, log=folder / "emulator.log", definitions=CHART_DEFINITIONS) as emulator:
        console.print(
            f"[bold]emulator[/bold] listens at {emulator.endpoint} ({region}); no AWS account is used"
        )
        with Progress(console, emulator) as progress:
            cdk = Cdk(emulator, folder, directory=ROOT, app=app, context=context, on_line=progress.line)
            with progress.step("bootstrap", "cdk bootstrap"):
                cdk.bootstrap()
            before = inventory(emulator)
            with progress.step("deploy", f"cdk deploy {' '.join(stacks) or '--all'}"):
                cdk.deploy(*stacks)
            deployed = [item for item in emulator.ledger() if item.name != TOOLKIT]
            console.print(_table(deployed, progress.seconds))
            _outputs(console, deployed)
            changed = Cdk(
                emulator,
                folder,
                directory=ROOT,
                app=app,
                context=[_changed(configuration, folder)],
                on_line=progress.line,
            )
            with progress.step("update", f"cdk deploy {' '.join(stacks) or '--all'}, with one more tag"):
                changed.deploy(*stacks)
            try:
                with progress.step("destroy", "cdk destroy --all"):
                    cdk.destroy()
            except CdkError:
                if not any(item.retained for item in emulator.ledger()):
                    raise
                return _kept(console, emulator)
            return _leavings(console, emulator, before)


def _on_kubernetes(console: Console, settings: Settings) -> bool:
    """Tell whether EKS clusters get control planes; where one was to be had, say in a line what it lacks."""
    if kubernetes_demo.section(settings) is None:
        return False
    reason = kubernetes_demo.missing()
    if reason:
        console.print(f"[bold]no Kubernetes[/bold]: {escape(reason)}", soft_wrap=True)
    return not reason


def run_on_kubernetes(
    console: Console, configuration: Path, settings: Settings, folder: Path, app: str | None = None
) -> bool:
    """Deploy all, run a job on the cluster, destroy; return whether something is left that should not be.

    Raises:
        CdkError: the CLI failed.
        DemoError: the job did not do what it should.
        EmulatorError: the emulator could not be started.
    """
    context = [f"config={os.path.relpath(configuration, ROOT)}"]
    planes = kubernetes_demo.control_planes(settings, folder)
    with Emulator(
        settings.region, log=folder / "emulator.log", control_planes=planes, definitions=CHART_DEFINITIONS
    ) as emulator:
        console.print(
            f"[bold]emulator[/bold] listens at {emulator.endpoint} ({settings.region}); no AWS account is used"
        )
        with Progress(console, emulator, brief=True) as progress:
            cdk = Cdk(
                emulator,
                folder,
                directory=ROOT,
                app=app,
                context=context,
                on_line=progress.line,
                seconds=_CDK_SECONDS,
            )
            with progress.step("bootstrap", "cdk bootstrap"):
                cdk.bootstrap()
            before = inventory(emulator)
            with progress.step("deploy", "cdk deploy --all"):
                cdk.deploy()
            deployed = [item for item in emulator.ledger() if item.name != TOOLKIT]
            parts = (f"{item.name} ({len(item.resources)} resources)" for item in deployed)
            console.print(f"[bold]stacks[/bold] {', '.join(parts)}", soft_wrap=True)
            kubernetes_demo.KubernetesDemo(console, emulator, settings, configuration, folder).run()
            with progress.step("destroy", "cdk destroy --all"):
                cdk.destroy()
            return _leavings(console, emulator, before)


def _changed(configuration: Path, folder: Path) -> str:
    """Write the configuration with one more tag, a change that every one takes, and return its context value."""
    document = yaml.safe_load(configuration.read_text(encoding="utf-8"))
    document["tags"] = {**(document.get("tags") or {}), "demo-update": "1"}
    path = folder / "updated.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return f"config={path}"


def _table(stacks: list[LedgerStack], seconds: dict[str, float]) -> Table:
    table = Table(title="what was deployed", title_justify="left")
    table.add_column("stack")
    for heading in ("resources", *_COLUMNS.values(), "seconds"):
        table.add_column(heading, justify="right")
    for stack in stacks:
        counts = [str(stack.count(kind)) for kind in _COLUMNS]
        table.add_row(stack.name, str(len(stack.resources)), *counts, f"{seconds.get(stack.name, 0.0):.1f}")
    return table


def _outputs(console: Console, stacks: list[LedgerStack]) -> None:
    console.print("[bold]outputs[/bold]")
    for stack in stacks:
        for name, value in sorted(stack.outputs.items()):
            # Exports that stacks make for each other are of no use to a person.
            if not name.startswith("ExportsOutput"):
                # Never wrapped: people copy these.
                console.print(f"  {stack.name}.{name} = {escape(value)}", soft_wrap=True)


def _leavings(console: Console, emulator: Emulator, before: set[tuple[str, str]]) -> bool:
    wrong, excused = left_over(emulator, before)
    for kind, identifier in wrong:
        console.print(f"[red]left over:[/red] {kind} {escape(identifier)}")
    for (kind, identifier), reason in excused:
        console.print(f"left: {kind} {escape(identifier)}: {reason}", soft_wrap=True)
    if not wrong:
        console.print(
            "[green]destroyed[/green]: nothing " + ("else " if excused else "") + "of the deployment is left"
        )
    return bool(wrong)


def _kept(console: Console, emulator: Emulator) -> bool:
    """Explain a destruction that ends where durable file systems hold their network."""
    console.print("[bold]kept[/bold], as retention: durable asks:")
    for stack in emulator.ledger():
        for entry in stack.retained:
            console.print(f"  {entry.type} {escape(entry.physical_id)}")
    console.print("not deleted while those stand in it; in AWS it is the same:")
    for stack in emulator.ledger():
        for entry in stack.resources if stack.status == "DELETE_FAILED" else ():
            console.print(f"  {entry.type} {escape(entry.physical_id)}")
    return False


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into Interrupted, so that everything started is ended on the way out."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
