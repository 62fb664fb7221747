"""`trainforge catalog`: show the facts of instance types, and read new ones from EC2."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import completion
from cli.mistakes import fail

app = typer.Typer(help="Show the facts of instance types, or update them.", no_args_is_help=True)

_DATA = Path(__file__).resolve().parent.parent / "catalog" / "data"


@app.command()
def refresh(
    region: Annotated[str, typer.Option(help="Region of the EC2 API that is called.")] = "us-east-1",
    endpoint_url: Annotated[str | None, typer.Option(help="Another endpoint, an emulator's.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit code 1 if stale.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Drop types that EC2 no longer describes.")] = False,
    source: Annotated[str | None, typer.Option(help="The source that the file names.")] = None,
) -> None:
    """Update instance types from EC2 and HyperPod's list.

    Asks EC2's DescribeInstanceTypes, and botocore for HyperPod's list. Prints what changed and writes it to
    catalog/data/. A type that the answer lacks is kept, because EC2 describes types that a region does not
    have only to some accounts. Needs credentials with ec2:DescribeInstanceTypes; the usual AWS
    environment variables apply.
    """
    from catalog import ec2
    from catalog.records import read

    kept = read("instances.json")
    answered = _describe(region, endpoint_url)
    found = ec2.changes(kept["instances"], answered)
    lines = list(found.lines())
    records = {**kept["instances"], **answered}
    if prune:
        records = answered
        lines += [f"removed  {name}" for name in found.absent]
    stale = list(lines)
    lines += [f"kept     {name}, which EC2 does not describe here" for name in found.absent if not prune]

    offered = _offered_by_hyperpod()
    listed = set(read("hyperpod.json")["instance_types"])
    hyperpod = [f"added    {name} to HyperPod's list" for name in sorted(set(offered) - listed)]
    hyperpod += [f"removed  {name} from HyperPod's list" for name in sorted(listed - set(offered))]

    for line in (*lines, *hyperpod):
        typer.echo(line)
    if not stale and not hyperpod:
        typer.echo(f"the catalog is current: {len(answered)} instance types, {len(offered)} on HyperPod")
    elif check:
        typer.echo("the catalog is stale; 'trainforge catalog refresh' brings it up to date", err=True)
        raise typer.Exit(1)
    if check:
        return
    if stale:
        asked = source or f"EC2 DescribeInstanceTypes in {region}" + (
            f" at {endpoint_url}" if endpoint_url else ""
        )
        _write("instances.json", ec2.to_text(asked, _today(), records))
    if hyperpod:
        _write("hyperpod.json", _hyperpod_text(offered))


def _describe(region: str, endpoint_url: str | None) -> dict[str, dict[str, Any]]:
    """Ask EC2 for the catalog's families and reduce the answer to records by name."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    from catalog import ec2

    try:
        client = boto3.client("ec2", region_name=region, endpoint_url=endpoint_url)
        pages = client.get_paginator("describe_instance_types").paginate(
            Filters=[{"Name": "instance-type", "Values": list(ec2.FILTERS)}],
            # Families are sold in few regions each; without this no single region describes them all.
            IncludeUnsupportedInRegion=True,
        )
        answer = {
            entry["InstanceType"]: ec2.record(entry) for page in pages for entry in page["InstanceTypes"]
        }
    except (BotoCoreError, ClientError, ValueError) as error:
        fail(f"EC2 in region '{region}' did not answer: {error}")
    if not answer:
        fail(f"EC2 in region '{region}' describes none of the catalog's families; the files stay as they are")
    return answer


def _offered_by_hyperpod() -> list[str]:
    """Return the EC2 names of the types in SageMaker's ClusterInstanceType, sorted."""
    from botocore.session import get_session

    shape = get_session().get_service_model("sagemaker").shape_for("ClusterInstanceType")
    return sorted(name.removeprefix("ml.") for name in shape.metadata["enum"])


def _hyperpod_text(offered: list[str]) -> str:
    """Return the text of data/hyperpod.json."""
    import botocore

    source = f"botocore {botocore.__version__}, SageMaker ClusterInstanceType"
    return json.dumps({"source": source, "instance_types": offered}, indent=2) + "\n"


@app.command()
def regions(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit code 1 if stale.")] = False,
) -> None:
    """Update regions, zones and HyperPod's regions from libraries.

    The libraries are botocore and cfn-lint, which is among the requirements for development. It calls no service.
    """
    from catalog.records import read
    from catalog.regions import FILE
    from cli.region_facts import facts, text

    try:
        found = facts()
    except ModuleNotFoundError as error:
        fail(f"the library '{error.name}' is missing; 'pip install -r requirements-dev.txt' brings it")
    try:
        current = read(FILE) == found
    except (FileNotFoundError, ValueError):
        current = False
    if current:
        typer.echo(f"the regions are current: {len(found['cluster_regions'])} have HyperPod clusters")
    elif check:
        typer.echo("the regions are stale; 'trainforge catalog regions' brings them up to date", err=True)
        raise typer.Exit(1)
    else:
        _write(FILE, text(found))


@app.command()
def metrics(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 if the page is stale.")
    ] = False,
) -> None:
    """Write the tables of our exporters' metrics into docs/exporters.md."""
    from cli.metric_tables import PAGE, filled

    text = PAGE.read_text(encoding="utf-8")
    if filled(text) == text:
        typer.echo("the tables of metrics are current")
    elif check:
        typer.echo("the tables are stale; 'trainforge catalog metrics' brings them up to date", err=True)
        raise typer.Exit(1)
    else:
        PAGE.write_text(filled(text), encoding="utf-8")
        typer.echo("wrote docs/exporters.md")


def _today() -> str:
    """Return today's date."""
    from datetime import UTC, datetime

    return datetime.now(UTC).date().isoformat()


def _write(name: str, text: str) -> None:
    """Replace a data file in one step, so that a reader never sees half of it."""
    path = _DATA / name
    draft = path.with_suffix(".draft")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
    except OSError as error:
        fail(f"'{path}' cannot be written: {error.strerror or error}")
    finally:
        draft.unlink(missing_ok=True)
    typer.echo(f"wrote catalog/data/{name}")


@app.command()
def show(
    instance_type: Annotated[
        str,
        typer.Argument(
            metavar="TYPE", help="EC2 name of the instance type.", autocompletion=completion.instance_types
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the facts of an instance type, with sources.

    Also the values that are derived from them: network interfaces, Slurm's view of the node, Batch's devices, EFA's
    environment.
    """
    from catalog.instances import UnknownInstanceTypeError, instance

    try:
        facts = instance(instance_type)
    except UnknownInstanceTypeError as error:
        fail(error)
    from cli.instance_sheet import as_plain, tables

    if as_json:
        typer.echo(json.dumps(as_plain(facts), indent=2))
        return
    from rich.console import Console

    console = Console()
    for table in tables(facts):
        console.print(table)


@app.command(name="list")
def list_(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORD",
            help="Only types whose name or accelerator has each of these words, as 'h100'.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List instance types, or those with a word in their name.

    On a terminal a table; in a pipe one type a line, with tabs between the values.
    """
    from catalog.instances import matching

    found = matching(words or ())
    if not found:
        fail(
            f"no instance type of the catalog matches '{' '.join(words or ())}'; 'trainforge catalog list' shows all"
        )
    rows = [
        (
            facts.name,
            facts.vcpus,
            facts.memory_gib,
            f"{facts.accelerators} x {facts.accelerator.name}" if facts.accelerator else None,
            facts.efa_interfaces,
            facts.hyperpod,
        )
        for facts in found
    ]
    keys = ("type", "vcpus", "memory_gib", "accelerators", "efa_interfaces", "hyperpod")
    if as_json:
        typer.echo(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=2))
        return
    from cli.table import print_table

    print_table(
        ("Type", "vCPUs", "Memory (GiB)", "Accelerators", "EFA interfaces", "On HyperPod"),
        [
            (name, str(vcpus), f"{memory:g}", accelerators or "-", str(efa), "yes" if hyperpod else "no")
            for name, vcpus, memory, accelerators, efa, hyperpod in rows
        ],
    )
