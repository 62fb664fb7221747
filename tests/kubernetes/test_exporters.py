"""Exporters' objects: the real controllers and scheduler place their pods on the nodes that they measure, and no other.

The exporter of runs is one pod on a system node, and the static volume of the shared file system is bound to its claim.
"""

from __future__ import annotations

import pytest

from catalog.kubernetes import SHARED_CLAIM
from catalog.pool import Pool
from catalog.reference_types import CPU, GPU, NEURON
from tests.kubernetes import capacity
from tests.kubernetes.bare_nodes import BareNodes
from tests.kubernetes.object_sets import all_deleted, create_all
from tests.kubernetes.plane.api import Api, Document
from tests.kubernetes.plane.control_plane import ControlPlane
from trainforge.eks.efa_exporter import efa_exporter
from trainforge.eks.exporter_pods import NAMESPACE
from trainforge.eks.metrics import dcgm_values
from trainforge.eks.neuron_monitor import neuron_monitor
from trainforge.eks.node_group import SYSTEM_POOL
from trainforge.eks.runs_exporter import runs_exporter
from trainforge.eks.volumes import LustreVolume, lustre

POOLS = [
    Pool("exported-gpu", GPU, 2, "us-west-2a"),
    Pool("exported-neuron", NEURON, 1, "us-west-2a"),
    Pool("exported-cpu", CPU, 1, "us-west-2a"),
]
SYSTEM = Pool(SYSTEM_POOL, CPU, 1, "us-west-2a")


def space(name: str) -> Document:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def names(pool: Pool) -> list[str]:
    return [f"{pool.name}-{number}" for number in range(pool.nodes)]


def nodes(*, hyperpod: bool = False) -> list[Document]:
    return [capacity.node(pool, name, hyperpod=hyperpod) for pool in (*POOLS, SYSTEM) for name in names(pool)]


def pods(api: Api, name: str, namespace: str, count: int) -> list[Document]:
    """Return the pods of an exporter as soon as so many run."""

    def running() -> list[Document]:
        found = [
            one
            for one in api.list("v1", "Pod", namespace=namespace)
            if one["metadata"]["labels"].get("app.kubernetes.io/name") == name
        ]
        phases = [one["status"].get("phase") for one in found]
        return found if phases == ["Running"] * count else []

    return api.await_(f"{count} pods of {name} run", running)


def places(found: list[Document]) -> list[str]:
    return sorted(one["spec"]["nodeName"] for one in found)


def has_token(pod: Document) -> bool:
    return any("projected" in volume for volume in pod["spec"].get("volumes", ()))


@pytest.mark.parametrize("hyperpod", [False, True], ids=["eks", "hyperpod"])
def test_a_pod_is_on_each_node_with_efa(control_plane: ControlPlane, hyperpod: bool) -> None:
    api = control_plane.api
    exporter = efa_exporter(POOLS, image="none", type_prefix="ml." if hyperpod else "")
    with BareNodes(api, nodes(hyperpod=hyperpod)), all_deleted(api) as created:
        create_all(api, [space(NAMESPACE), *exporter], created)
        found = pods(api, "efa-exporter", NAMESPACE, 3)
        assert places(found) == sorted([*names(POOLS[0]), *names(POOLS[1])])
        assert not any(has_token(pod) for pod in found)


def dcgm_exporter() -> Document:
    """Return a DaemonSet with what the values of dcgm-exporter's chart make of the places of its pods.

    The chart is in NVIDIA's repository, which tests do not reach. Its template takes affinity and tolerations from the
    values, and has no node selector by default (NVIDIA/dcgm-exporter, deployment of chart 4.8.2).
    """
    values = dcgm_values([GPU])
    labels = {"app.kubernetes.io/name": "dcgm-exporter"}
    places = {key: values[key] for key in ("affinity", "tolerations")}
    container = {"name": "exporter", "image": "none"}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "dcgm-exporter", "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {**places, "containers": [container]}},
        },
    }


def test_dcgm_s_pods_are_on_the_nodes_with_gpus(control_plane: ControlPlane) -> None:
    api = control_plane.api
    with BareNodes(api, nodes()), all_deleted(api) as created:
        create_all(api, [space(NAMESPACE), dcgm_exporter()], created)
        assert places(pods(api, "dcgm-exporter", NAMESPACE, 2)) == names(POOLS[0])


def test_neuron_and_runs_are_exported_where_they_are(control_plane: ControlPlane) -> None:
    api, namespace = control_plane.api, "exported-jobs"
    volume = LustreVolume("fs-0123456789abcdef0", "fs.example.com", "abcdef01", SHARED_CLAIM)
    shared = lustre(volume, deployment="exported", namespace_=namespace)
    with BareNodes(api, nodes()), all_deleted(api) as created:
        create_all(
            api,
            [
                *(space(NAMESPACE), space(namespace)),
                *neuron_monitor(POOLS),
                *shared,
                *runs_exporter(namespace, image="none"),
            ],
            created,
        )
        monitors = pods(api, "neuron-monitor", NAMESPACE, 1)
        assert places(monitors) == names(POOLS[1])
        runs = pods(api, "runs-exporter", namespace, 1)
        assert places(runs) == names(SYSTEM)
        assert not any(has_token(pod) for pod in (*monitors, *runs))
        [claim] = api.list("v1", "PersistentVolumeClaim", namespace=namespace)
        assert claim["status"]["phase"] == "Bound"
        [mount] = runs[0]["spec"]["containers"][0]["volumeMounts"]
        assert mount["readOnly"] is True
