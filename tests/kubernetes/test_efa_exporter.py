"""The EFA exporter's DaemonSet: the real controller and scheduler place one pod on each node with EFA, and no other."""

from __future__ import annotations

import pytest

from catalog.pool import Pool
from catalog.reference_types import CPU, GPU, NEURON
from tests.kubernetes import capacity
from tests.kubernetes.bare_nodes import BareNodes
from tests.kubernetes.object_sets import all_deleted, create_all
from tests.kubernetes.plane.api import Api
from trainforge.eks.efa_exporter import NAMESPACE, efa_exporter

POOLS = [
    Pool("exported-gpu", GPU, 2, "us-west-2a"),
    Pool("exported-neuron", NEURON, 1, "us-west-2a"),
    Pool("exported-cpu", CPU, 1, "us-west-2a"),
]


@pytest.mark.parametrize("hyperpod", [False, True], ids=["eks", "hyperpod"])
def test_a_pod_is_on_each_node_with_efa(with_definitions: Api, hyperpod: bool) -> None:
    api = with_definitions
    nodes = {f"{pool.name}-{number}": pool for pool in POOLS for number in range(pool.nodes)}
    documents = [capacity.node(pool, name, hyperpod=hyperpod) for name, pool in nodes.items()]
    exporter = efa_exporter(POOLS, image="none", type_prefix="ml." if hyperpod else "")
    with BareNodes(api, documents), all_deleted(api) as created:
        create_all(api, exporter, created)

        def placed() -> list[str]:
            pods = api.list("v1", "Pod", namespace=NAMESPACE)
            names = sorted(one["spec"].get("nodeName", "") for one in pods)
            return names if len(names) == 3 and all(names) else []

        expected = sorted(name for name, pool in nodes.items() if pool.name != "exported-cpu")
        assert api.await_("the exporter's pods are placed", placed) == expected
        status = api.await_(
            "all of them run",
            lambda: [
                one["status"]
                for one in api.list("apps/v1", "DaemonSet", namespace=NAMESPACE)
                if one["status"].get("numberReady") == 3
            ],
        )
        assert status[0]["desiredNumberScheduled"] == 3
