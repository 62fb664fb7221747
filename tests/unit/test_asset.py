"""Assets of a workload: what is refused, where they are, and the command that makes one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from workloads.asset import Asset
from workloads.program import Program
from workloads.secret import Secret
from workloads.spec import Run, Workload
from workloads.stage import Stage

C4 = Asset("c4", "c4/en", "C4_FOLDER", stage="download", size_gib=305)


def test_its_path_and_the_command_that_makes_it() -> None:
    assert C4.path("/fsx") == "/fsx/data/c4/en"
    command = "trainforge launch fsdp --preset small --on eks --stage download"
    assert C4.command("fsdp", "small", "eks") == command
    assert replace(C4, stage="").command("fsdp", "small", "eks") == ""
    assert C4.command("./my code", "small", "local", ("--shared", "../x")) == (
        f"trainforge launch './my code' --preset small --on local --stage {C4.stage} --shared ../x"
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "C4"}, "lower-case letters"),
        ({"folder": "/c4"}, "the folder '/c4' is not a relative path"),
        ({"folder": "c4/../.."}, "is not a relative path"),
        ({"folder": "c4/"}, "is not a relative path"),
        ({"folder": "c4 $HOME"}, "is not a relative path"),
        ({"folder": ""}, "is not a relative path"),
        ({"variable": "C4-FOLDER"}, "'C4-FOLDER' is not the name of a variable"),
        ({"variable": "RUN_FOLDER"}, "'RUN_FOLDER' is set by the launch itself"),
        ({"variable": "SLURM_DATA"}, "'SLURM_DATA' is set by the launch itself"),
        ({"kind": "model"}, "the kind 'model' is none of data, tokenizer, weights"),
        ({"size_gib": 0}, "the size 0 GiB is not above 0"),
        ({"size_gib": float("inf")}, "the size inf GiB is not above 0"),
    ],
)
def test_an_asset_that_scripts_cannot_name_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match="asset '") as refused:
        replace(C4, **change)
    assert told in str(refused.value)


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(ValueError, match="asset 'X'") as refused:
        Asset("X", "..", "A B")
    assert str(refused.value).count("; ") == 2


def workload(**fields: Any) -> Workload:
    return Workload(
        name="sample", stages=(Stage(name="download", program=Program(path="download.py")),), **fields
    )


def test_assets_that_do_not_fit_each_other_are_refused() -> None:
    assets = (C4, replace(C4, name="again", stage="downlod"), Asset("c4", "other", "HF_TOKEN"))
    with pytest.raises(ValueError, match="2 assets") as refused:
        workload(assets=assets, secrets=(Secret("hub", "HF_TOKEN"),))
    assert str(refused.value) == (
        "2 assets have the name 'c4'; 2 assets have the folder 'c4/en'; 2 assets have the variable 'C4_FOLDER'; "
        "the asset 'again' is made by 'downlod', and the workload has no stage of that name (did you mean "
        "'download'?); there are download; the asset 'c4' and a secret have the variable 'HF_TOKEN'"
    )


def test_a_stage_does_not_wait_for_its_own_asset_nor_for_a_later_one() -> None:
    own = Asset("words", "words", "WORDS", "tokenizer", required=True)
    run = Run.reference(
        workload(
            assets=(
                replace(C4, required=True),
                own,
                replace(own, name="b", folder="b", variable="B", required=False),
            )
        )
    )
    assert [asset.name for asset in run.required_assets] == ["c4", "words"]
    assert [asset.name for asset in run.stage("download").required_assets] == ["words"]
