"""The releases of the EKS stack on a real control plane: objects are taken, operators start with their rights."""

from __future__ import annotations

from tests.kubernetes.conftest import Cluster


def test_every_operator_of_the_stack_runs_with_the_rights_of_its_own(eks_cluster: Cluster) -> None:
    assert sorted(eks_cluster.programs) == [
        "jobset-manager",
        "kueue-manager",
        "mpi-operator",
        "trainer-manager",
        "training-operator",
    ]
    eks_cluster.plane.processes.check()


def test_the_queues_of_the_stack_are_active(eks_cluster: Cluster) -> None:
    def active() -> bool:
        queues = eks_cluster.api.list("kueue.x-k8s.io/v1beta2", "ClusterQueue")
        return bool(queues) and all(
            any(
                one["type"] == "Active" and one["status"] == "True"
                for one in queue.get("status", {}).get("conditions", ())
            )
            for queue in queues
        )

    eks_cluster.api.await_("the queues are active", active)
