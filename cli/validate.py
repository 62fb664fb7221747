"""`trainforge validate`: every mistake of a configuration at once, its schema, and the rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.mistakes import fail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.finding import Finding
    from settings.deployed import Deployed
    from settings.loaded_config import LoadedConfig


NOT_COMPARED_CODE = 3
"""The exit code where a section differs from what is deployed and no rule judged it: 'valid' would promise too much."""


def validate(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            help="The configuration to check; by default that of TRAINFORGE_CONFIG, or config/default.yaml.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", metavar="FILE", help="The same, under the name that other commands use."
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="FILE",
            help="The deployed state: the configuration of that time, or the output of "
            "'aws cloudformation get-template' for a ParallelCluster's stack. Findings then show the effects of an "
            "update, and the changes that no rule covers.",
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
    errors. With '--against' it is 3 if something differs and no rule covers the effect of the update.
    """
    if schema and rules:
        fail("'--schema' and '--rules' exclude each other; give one of them")
    if file and config and file != config:
        fail(f"two configurations are named, '{file}' and '{config}'; give one of them")
    if schema:
        _print_schema()
    elif rules:
        _print_rules(as_json)
    else:
        _check(file or config, as_json, against)


def _check(given: Path | None, as_json: bool, against: Path | None) -> None:
    from settings.configuration_file import configuration_file
    from settings.loaded_config import read_file

    file = configuration_file(given, "FILE")
    config = file.path
    deployed = _deployed(against, as_json) if against else None
    loaded = read_file(file, deployed)
    not_compared = _not_compared(loaded)
    if as_json:
        typer.echo(_as_json(loaded.findings, loaded.ok, not_compared if against else None))
    else:
        from settings.summary import summary

        if loaded.findings:
            from cli.findings import print_findings

            print_findings(loaded.findings, config)
        if loaded.ok and loaded.settings:
            # A user who named no file sees which one was used, and why.
            named = config if given else file
            typer.echo(f"{named}: valid; {summary(loaded.settings)}")
            if not_compared:
                typer.echo(
                    f"NOT COMPARED with {against}: {', '.join(not_compared)}; exit code {NOT_COMPARED_CODE}"
                )
            elif deployed and deployed.settings is None:
                typer.echo(f"compared only with the ParallelCluster of {against}: the file has nothing else")
    if not loaded.ok:
        raise typer.Exit(2)
    if not_compared:
        raise typer.Exit(NOT_COMPARED_CODE)


def _not_compared(loaded: LoadedConfig) -> list[str]:
    """Return the sections that differ from what is deployed and that no rule judged."""
    from settings.rules.update import NOT_COMPARED

    return [finding.path for finding in loaded.findings if finding.rule == NOT_COMPARED]


def _deployed(path: Path, as_json: bool) -> Deployed:
    """Return what is deployed; print what is wrong with the file and end with 2 where it cannot be read."""
    from cli.findings import print_findings
    from settings.deployed import read_deployed

    deployed, findings = read_deployed(path)
    if deployed is None:
        if as_json:
            typer.echo(_as_json(findings, ok=False, not_compared=None))
        else:
            print_findings(findings, path)
        raise typer.Exit(2)
    return deployed


def _as_json(findings: Sequence[Finding], ok: bool, not_compared: list[str] | None) -> str:
    from dataclasses import asdict

    compared = {} if not_compared is None else {"not_compared": not_compared}
    return json.dumps({"ok": ok, "findings": [asdict(finding) for finding in findings], **compared}, indent=2)


def _print_schema() -> None:
    from settings.deployment import Settings
    from settings.parser.json_schema import DescribedSchema

    typer.echo(json.dumps(Settings.model_json_schema(schema_generator=DescribedSchema), indent=2))


def _print_rules(as_json: bool) -> None:
    from settings.rules.rule_table import rule_table

    entries = rule_table()
    if as_json:
        from dataclasses import asdict

        typer.echo(json.dumps([asdict(entry) for entry in entries], indent=2))
        return
    from cli.findings import print_rules

    print_rules(entries)
