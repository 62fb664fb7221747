"""`trainforge render`: what it reads of a configuration, the same as `launch`, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from cli.main import app
from settings.loaded_config import read
from tests.unit.configuration import changed
from tests.unit.launching import Launching, cluster_info

TYPE = "c6i.4xlarge"


def render(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["render", "cpu-ddp", *arguments])


@pytest.fixture
def configuration(tmp_path: Path) -> str:
    file = tmp_path / "config.yaml"
    pool = {"instance_type": TYPE, "nodes": 4, "capacity": {"source": "on-demand"}}
    changes = {
        "name": "team",
        "region": "eu-west-1",
        "availability_zones": ["eu-west-1a", "eu-west-1b"],
        "pools": {"cpu": pool, "other": pool},
        "hyperpod/pools": ["cpu"],
        "hyperpod/partitions": {"cpu": "long"},
        "storage/lustre/mount_path": "/scratch",
    }
    file.write_text(yaml.safe_dump(changed(changes)), encoding="utf-8")
    return str(file)


def test_the_names_of_a_configuration(configuration: str) -> None:
    result = render("--on", "hyperpod", "-c", configuration)
    assert result.exit_code == 0, result.output
    for part in (
        "#SBATCH --partition=long\n",
        "#SBATCH --nodes=4\n",
        'RUN_FOLDER="/scratch/runs/',
        "--container-mounts=/scratch:/scratch",
        ".dkr.ecr.eu-west-1.amazonaws.com#team/cpu-ddp:example",
        "get-login-password --region eu-west-1",
    ):
        assert part in result.stdout
    assert "us-west-2" not in result.stdout
    assert result.stderr == (
        "note: images, roles and ids are examples; 'trainforge launch --dry-run' takes the deployed cluster's\n"
    )


@pytest.mark.parametrize(
    ("arguments", "rule", "message"),
    [
        (("--nodes", "5"), "run-nodes", "5 nodes are more than pool 'cpu' has"),
        (("--nodes", "0"), "run-nodes", "0 nodes cannot run anything"),
        (("--nodes", "-1"), "run-nodes", "-1 nodes cannot run anything"),
        (
            ("--instance-type", "c6i.8xlarge"),
            "run-instance-type",
            f"pool 'cpu' has nodes of '{TYPE}', not 'c6i.8xlarge'",
        ),
        (("--pool", "othr"), "run-pool", "hyperpod of deployment 'team' has no pool 'othr'"),
        (("--pool", "other"), "run-pool", "hyperpod of deployment 'team' has no pool 'other'"),
        (("--on", "batch"), "run-cluster", "deployment 'team' has no cluster 'batch'"),
        (("--run-id", "A!"), "run-id", "'A!' cannot be the id of a run"),
    ],
)
def test_render_and_launch_find_the_same(
    configuration: str,
    arguments: tuple[str, ...],
    rule: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rendered = render("--on", "hyperpod", "-c", configuration, *arguments)
    assert rendered.exit_code == 2
    assert rendered.stdout == ""
    assert f"[{rule}]" in rendered.stderr
    assert message in " ".join(rendered.stderr.split())
    launch = Launching(tmp_path, monkeypatch)
    on = "batch" if "batch" in arguments else "hyperpod"
    more = () if "batch" in arguments else arguments
    launched = launch(on, "-c", configuration, *more, info=cluster_info(on))
    assert launched.exit_code == 2
    assert launched.stderr == rendered.stderr


def test_no_nodes_without_a_configuration() -> None:
    result = render("--on", "hyperpod", "--nodes", "0")
    assert result.exit_code == 2
    assert "0 nodes cannot run anything" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "nodes"),
    [
        ((), 8),
        (("--preset", "tiny"), 1),
        (("--preset", "tiny", "--nodes", "2"), 2),
        (("--pool", "wide"), 4),
        (("--pool", "part"), 8),
        # Only shipped to the other cluster, so the first of this one.
        (("--on", "parallelcluster"), 4),
    ],
    ids=[
        "of the workload",
        "of its preset",
        "with other nodes",
        "as asked for",
        "by its name",
        "not shipped there",
    ],
)
def test_the_pool_by_default_is_the_one_that_the_configuration_ships_it_to(
    tmp_path: Path, arguments: tuple[str, ...], nodes: int
) -> None:
    def pool(count: int) -> dict[str, object]:
        return {"instance_type": TYPE, "nodes": count, "capacity": {"source": "on-demand"}}

    def shipped(preset: str, name: str, **more: object) -> dict[str, object]:
        return {"workload": "cpu-ddp", "preset": preset, "pool": name, "clusters": ["hyperpod"], **more}

    pools = ["wide", "part", "small"]
    changes = {
        "pools": {"wide": pool(4), "part": pool(16), "small": pool(2)},
        "hyperpod/pools": pools,
        "parallelcluster": {"pools": pools},
        "workloads": [shipped("reference", "part", nodes=8), shipped("tiny", "small", nodes=1)],
    }
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(changed(changes)), encoding="utf-8")
    result = render("--on", "hyperpod", "-c", str(file), *arguments)
    assert result.exit_code == 0, result.output
    assert f"#SBATCH --nodes={nodes}\n" in result.stdout


def test_on_this_machine_a_pool_is_only_a_size(configuration: str) -> None:
    result = render("--on", "local", "-c", configuration, "--pool", "other", "--nodes", "8")
    assert result.exit_code == 0, result.output
    assert "--nproc-per-node=8" in result.stdout
    result = render("--on", "local", "-c", configuration, "--pool", "mine")
    assert result.exit_code == 2
    assert "the configuration has no pool 'mine'" in result.stderr


@pytest.mark.parametrize(
    ("verb", "cluster"), [("render", "hyperpod"), ("render", "local"), ("launch", "local")]
)
def test_a_pool_without_a_configuration(verb: str, cluster: str) -> None:
    """(`launch` on a cluster reads config/default.yaml where none is given, and says what pools it has.)"""
    result = CliRunner().invoke(app, [verb, "cpu-ddp", "--on", cluster, "--pool", "gpu"])
    assert result.exit_code == 2
    assert "[run-pool]" in result.stderr
    assert "pool 'gpu' is not known: pools are those of a configuration, and none is given" in result.stderr
    assert "give one with '-c FILE', or leave --pool out" in result.stderr


def test_a_run_with_an_id() -> None:
    result = render("--on", "hyperpod", "--run-id", "monday")
    assert result.exit_code == 0, result.output
    assert 'RUN_FOLDER="/fsx/runs/cpu-ddp/monday"' in result.stdout
    assert "#SBATCH --job-name=cpu-ddp-reference-monday\n" in result.stdout


def test_the_environment_changes_no_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    before = render("--on", "hyperpod").stdout
    monkeypatch.setenv("TRAINFORGE_RUN_ID", "monday")
    assert render("--on", "hyperpod").stdout == before


def test_no_workload() -> None:
    result = CliRunner().invoke(app, ["render"])
    assert result.exit_code == 2
    assert result.stderr == "error: name a workload; 'trainforge render --list' shows all\n"


def test_what_the_configuration_runs_in_a_virtual_environment_is_rendered_so(tmp_path: Path) -> None:
    """As the cluster's stack ships it: from the bundle, where nodes see it, and in no container."""
    entry = {"workload": "cpu-ddp", "preset": "reference", "pool": "cpu", "clusters": ["hyperpod"]}
    pool = {"instance_type": TYPE, "nodes": 2, "capacity": {"source": "on-demand"}}
    changes = {
        "pools": {"cpu": pool},
        "hyperpod/pools": ["cpu"],
        "storage/lustre/mount_path": "/scratch",
        "workloads": [{**entry, "virtual_environment": "/scratch/venvs/ddp"}],
    }
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(changed(changes)), encoding="utf-8")
    result = render("--on", "hyperpod", "-c", str(file))
    assert result.exit_code == 0, result.output
    settings = read(file).settings
    assert settings
    folder = settings.storage.launch_folder("hyperpod")
    assert folder.startswith("/scratch/")
    assert 'export PATH="/scratch/venvs/ddp/bin:$PATH"\n' in result.stdout
    assert f" {folder}/cpu_ddp/train.py " in result.stdout
    assert "--container-" not in result.stdout
    assert ".dkr.ecr." not in result.stdout
    fsdp = CliRunner().invoke(
        app, ["render", "fsdp", "--preset", "tiny", "--on", "hyperpod", "-c", str(file)]
    )
    assert "/fsdp:example" in fsdp.stdout, "only of the workload that is shipped so"
