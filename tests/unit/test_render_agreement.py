"""Every renderer has the same values of a run: devices, nodes and ranks, for every type of the catalog."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest

from catalog.cluster_info import ClusterInfo
from catalog.instances import INSTANCES, instance_types
from catalog.kubernetes import EFA, GPU, HUGE_PAGES, INSTANCE_TYPE_LABEL, NEURON
from tests.unit.rendering import MPI, RENDERERS, SAMPLES, Case, cases, only_container, pods, read, run, script
from workloads.entry import environment
from workloads.launchers import Mpi
from workloads.render.slurm import slurm
from workloads.spec import Format, Run

NODES = (1, 3)
OPTIONS = re.compile(r'--(accelerators|efa|kind|fabric|nnodes|nproc-per-node)=(?:"?)([\w.$-]+)')


def guards(text: str) -> list[dict[str, str]]:
    """Return the arguments of each launch guard in a script."""
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [dict(OPTIONS.findall(line.split(" -- ")[0])) for line in lines if "launch_guard.py" in line]


@pytest.mark.parametrize("instance_type", instance_types())
def test_devices_nodes_and_ranks_agree(instance_type: str) -> None:
    facts = INSTANCES[instance_type]
    for case in cases((instance_type,), NODES):
        text = case.text
        document = read(text)
        assert case.text == text, "a second time it is the same"
        found = list(pods(document))
        run = case.run
        if case.format_ is Format.RAYJOB:
            (_, head), *found = found
            _check_head(run, head)
        assert sum(count for count, _ in found) == run.nodes
        for _, template in found:
            _check_pod(run, template)
        scripts = [script(template) for _, template in found]
        if case.format_ is Format.RAYJOB:
            _check_ray(run, document, scripts)
            continue
        _check_guards(run, scripts)
        _check_ranks(run, document, scripts)
        if run.accelerated:
            assert run.accelerators_per_node == facts.accelerators
            assert run.efa_per_node == facts.efa_interfaces


def _check_pod(run: Run, template: dict[str, Any]) -> None:
    resources = only_container(template)["resources"]
    requests, limits = resources["requests"], resources.get("limits", {})
    amounts = {
        NEURON if run.kind == "neuron" else GPU: run.accelerators_per_node,
        EFA: run.efa_per_node,
    }
    devices = {name: str(amount) for name, amount in amounts.items() if amount}
    # Kubernetes asks for devices in both, and takes no more of one than of the other.
    assert {name: requests[name] for name in limits} == limits
    assert {name: amount for name, amount in limits.items() if name != HUGE_PAGES} == devices
    # Who uses huge pages without asking for them ends with a bus error; who asks without need may wait for ever.
    uses_huge_pages = run.efa_per_node > 0 and environment(run).get("FI_EFA_USE_HUGE_PAGE") != "0"
    assert (HUGE_PAGES in limits) == uses_huge_pages
    spec = template["spec"]
    assert spec["nodeSelector"][INSTANCE_TYPE_LABEL].removeprefix("ml.") == run.instance_type
    assert not spec.get("hostNetwork")
    assert ("podAntiAffinity" in spec.get("affinity", {})) == (run.accelerators_per_node == 0)


def _check_head(run: Run, template: dict[str, Any]) -> None:
    """A head has no devices, and is beside a worker."""
    assert set(only_container(template)["resources"]) == {"requests"}
    assert set(only_container(template)["resources"]["requests"]) == {"cpu", "memory"}
    spec = template["spec"]
    assert spec["nodeSelector"][INSTANCE_TYPE_LABEL].removeprefix("ml.") == run.instance_type
    assert "podAntiAffinity" not in spec.get("affinity", {})


def _check_ray(run: Run, document: dict[str, Any], scripts: list[str]) -> None:
    """The guard of the driver goes by the lines of progress, those of the workers look at their nodes."""
    cluster = document["spec"]["rayClusterSpec"]
    [group] = cluster["workerGroupSpecs"]
    assert group["replicas"] == group["minReplicas"] == group["maxReplicas"] == run.nodes
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert group["rayStartParams"]["num-cpus"] == str(run.ranks_per_node)
    assert group["rayStartParams"].get("num-gpus", "0") == str(run.gpus_per_node)
    head = only_container(cluster["headGroupSpec"]["template"])
    driver = next(one["value"] for one in head["env"] if one["name"] == "DRIVER").replace("$$", "$")
    [watching] = guards(driver)
    spans = bool(run.efa_per_node) and run.nodes > 1
    assert watching == {
        "kind": run.kind,
        "accelerators": "0",
        "efa": "0",
        **({"fabric": "efa"} if spans else {}),
    }
    assert f'WORLD_SIZE="{run.ranks}"' in driver
    [worker] = scripts
    expected = {
        "kind": run.kind,
        "accelerators": str(run.accelerators_per_node),
        "efa": str(run.efa_per_node),
    }
    assert guards(worker) == ([expected] if run.accelerated else [])


def _check_guards(run: Run, scripts: list[str]) -> None:
    """The guard expects what the pod gets, and what Slurm's guard expects."""
    found = list(chain.from_iterable(guards(text) for text in scripts))
    expected = {
        "kind": run.kind,
        "accelerators": str(run.accelerators_per_node),
        "efa": str(run.efa_per_node),
    }
    assert found
    assert all(expected.items() <= one.items() for one in found)
    spans = bool(run.efa_per_node) and run.nodes > 1
    fabric = found[-1].pop("fabric", None)
    # Where the number of nodes is known when the job runs, the guard is told it then.
    told = "--nodes=$" in scripts[-1]
    assert fabric == ("efa" if spans or (told and run.efa_per_node) else None)
    [on_slurm] = guards(slurm(run, ClusterInfo.example("parallelcluster", [run.workload.name])))
    assert on_slurm.pop("fabric", None) == ("efa" if run.efa_per_node else None)
    assert on_slurm == found[-1]


def _check_ranks(run: Run, document: dict[str, Any], scripts: list[str]) -> None:
    spec = document["spec"]
    readers: dict[str, Callable[[], int]] = {
        "PyTorchJob": lambda: int(spec["nprocPerNode"]),
        "HyperPodPyTorchJob": lambda: int(spec["nprocPerNode"]),
        "TrainJob": lambda: spec["trainer"]["numProcPerNode"],
        # It says nothing of ranks.
        "JobSet": lambda: run.ranks_per_node,
        "MPIJob": lambda: spec["slotsPerWorker"],
    }
    per_node = readers[document["kind"]]()
    assert per_node == run.ranks_per_node
    assert per_node * run.nodes == run.ranks
    joined = re.sub(r"\\\n\s*", "", scripts[0])
    if isinstance(run.workload.launcher, Mpi):
        # mpirun counts the nodes of the hostfile itself.
        assert f" -N {per_node} " in joined
        assert "-np" not in joined
    elif "rank_starter.py" in joined:
        assert f"--ranks-per-node={per_node} " in joined
        if document["kind"] == "JobSet":
            assert f'WORLD_SIZE="{run.ranks}"' in joined
            return
        [world] = re.findall(r'WORLD_SIZE="\$\(\((.+) \* (\d+)\)\)"', joined)
        nodes = {"PyTorchJob": f"${{PET_NNODES:-{run.nodes}}}", "TrainJob": "PET_NNODES"}[document["kind"]]
        assert world == (nodes, str(per_node))
    else:
        assert f"--nproc-per-node={per_node} " in joined


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda one: one.name)
def test_a_secret_is_named_and_never_printed(sample: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_this-is-secret")
    monkeypatch.setenv("TRACKER_KEY", "this-is-secret-too")
    for format_ in sample.formats:
        case = Case(run(sample, "trn1.32xlarge" if sample.image.base == "neuron" else "p5.48xlarge"), format_)
        assert "this-is-secret" not in case.text
        for _, template in pods(case.document):
            references = {
                variable["name"]: variable["valueFrom"]["secretKeyRef"]
                for variable in only_container(template)["env"]
                if "secretKeyRef" in variable.get("valueFrom", {})
            }
            assert references == {
                "HF_TOKEN": {"name": "huggingface", "key": "HF_TOKEN", "optional": True},
                "TRACKER_KEY": {"name": "tracker", "key": "TRACKER_KEY"},
            }


def test_every_format_of_kubernetes_was_looked_at() -> None:
    seen = {case.format_ for case in cases(("p5.48xlarge", "trn1.32xlarge"))}
    assert seen == set(RENDERERS)
    assert MPI.formats == (Format.MPIJOB,)
