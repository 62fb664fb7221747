"""`trainforge validate`: every mistake of a configuration at once, its schema, and the rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from settings.deployed import Deployed
    from settings.reading import Reading

DEFAULT_CONFIG = Path("config/default.yaml")


def validate(
    config: Annotated[
        Path, typer.Option("--config", "-c", metavar="FILE", help="The configuration to check.")
    ] = DEFAULT_CONFIG,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="FILE",
            help="What is deployed: the configuration of that time, or what 'aws cloudformation get-template' prints "
            "of a ParallelCluster's stack. Findings then say what an update would do to it.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of a configuration instead.")
    ] = False,
    rules: Annotated[bool, typer.Option("--rules", help="Print every rule and its reason instead.")] = False,
) -> None:
    """Check a configuration and print every finding at once.

    Nothing is looked up in AWS. The exit code is 0 where there are warnings at most, and 2 where there are
    errors.
    """
    if schema and rules:
        typer.echo("error: '--schema' and '--rules' exclude each other; give one of them", err=True)
        raise typer.Exit(2)
    if schema:
        _print_schema()
    elif rules:
        _print_rules(as_json)
    else:
        _check(config, as_json, against)


def _check(config: Path, as_json: bool, against: Path | None) -> None:
    from settings.reading import read

    reading = read(config, _deployed(against) if against else None)
    if as_json:
        typer.echo(_as_json(reading))
    else:
        from cli.findings import print_findings
        from settings.summary import summary

        print_findings(reading.findings, config)
        if reading.ok and reading.settings:
            typer.echo(f"{config}: valid; {summary(reading.settings)}")
    if not reading.ok:
        raise typer.Exit(2)


def _deployed(path: Path) -> Deployed:
    from cli.findings import print_findings
    from settings.deployed_reading import read_deployed

    deployed, findings = read_deployed(path)
    if deployed is None:
        print_findings(findings, path)
        raise typer.Exit(2)
    return deployed


def _as_json(reading: Reading) -> str:
    from dataclasses import asdict

    findings = [asdict(finding) for finding in reading.findings]
    return json.dumps({"ok": reading.ok, "findings": findings}, indent=2)


def _print_schema() -> None:
    from settings.deployment import Settings

    typer.echo(json.dumps(Settings.model_json_schema(), indent=2))


def _print_rules(as_json: bool) -> None:
    from settings.rules import rule_sheet

    sheet = rule_sheet()
    if as_json:
        from dataclasses import asdict

        typer.echo(json.dumps([asdict(entry) for entry in sheet], indent=2))
        return
    from cli.findings import print_rules

    print_rules(sheet)
