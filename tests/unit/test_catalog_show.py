"""`trainforge catalog show`: a sheet that a stranger can read, and the same as JSON."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from catalog.instances import INSTANCES
from cli.catalog import app
from cli.instance_sheet import as_plain, tables


def show(*arguments: str) -> tuple[int, str]:
    """Return exit code and output of the command."""
    result = CliRunner().invoke(app, ["show", *arguments], env={"COLUMNS": "160"})
    return result.exit_code, result.output


def test_sheet_names_facts_derivations_and_sources() -> None:
    code, text = show("p5.48xlarge")
    assert code == 0
    for part in (
        "8 x NVIDIA H100, 80 GiB each",
        "bf16 989.4",
        "read and write (Nitro v4)",
        "card 0 device 0 interface, card 0 device 1 efa-only, card 1-31 device 0 efa-only; IP addresses",
        "card 0 device 0 efa, card 1-31 device 1 efa; IP addresses a node: 32",
        "CPUs=192 Sockets=2 CoresPerSocket=48 ThreadsPerCore=2",
        "/dev/infiniband/uverbs0 to /dev/infiniband/uverbs31 (32)",
        "(1)    EC2 DescribeInstanceTypes",
        "NVIDIA H100 data sheet",
    ):
        assert part in text


def test_the_sheet_prints_unknown_for_unknown_facts() -> None:
    code, text = show("g7e.48xlarge")
    assert code == 0
    rows = dict(
        line.strip().split(maxsplit=1) for line in text.splitlines() if line.strip().startswith("sockets")
    )
    assert rows == {"sockets": "unknown"}
    assert "unknown: no NVIDIA data sheet with dense figures was read" in text


def test_unknown_type_ends_with_code_2_and_no_traceback() -> None:
    code, text = show("p5.47xlarge")
    assert code == 2
    assert text == (
        "error: instance type 'p5.47xlarge' is not in the catalog "
        "(did you mean 'p5.48xlarge' or 'p5.4xlarge' or 'g5.48xlarge'?); "
        "'trainforge catalog refresh' reads new types from EC2\n"
    )


@pytest.mark.parametrize("name", ["p5.48xlarge", "p6e-gb200.36xlarge", "trn2u.48xlarge", "t3.micro"])
def test_json_holds_the_facts_and_what_follows(name: str) -> None:
    code, text = show(name, "--json")
    assert code == 0
    sheet = json.loads(text)
    facts = INSTANCES[name]
    assert sheet["facts"]["vcpus"] == facts.vcpus
    assert len(sheet["facts"]["network_cards"]) == len(facts.network_cards)
    assert sheet["facts"]["sources"] == dict(facts.sources)
    assert len(sheet["interfaces"]["efa-only"]) >= max(1, facts.efa_interfaces)
    assert sheet["private_addresses"]["efa-only"] == 1


def test_every_type_has_a_sheet() -> None:
    for name, facts in INSTANCES.items():
        titles = [table.title for table in tables(facts)]
        assert titles == [name, "what follows", "sources"]
        assert json.dumps(as_plain(facts))
