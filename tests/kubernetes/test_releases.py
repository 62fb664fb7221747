"""The releases of the EKS stack on a real control plane: objects are taken, operators start with their rights."""

from __future__ import annotations

import yaml

from tests.kubernetes.conftest import Cluster
from tests.kubernetes.plane.assets import Assets
from trainforge.eks.queues import kueue_values

CONFIGURATION = "controller_manager_config.yaml"


def test_every_operator_of_the_stack_runs_with_the_rights_of_its_own(eks_cluster: Cluster) -> None:
    assert sorted(eks_cluster.programs) == [
        "jobset-manager",
        "kuberay-operator",
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


def test_kueue_is_configured_as_its_own_chart_does_but_for_frameworks_and_metrics(assets: Assets) -> None:
    """One text takes the place of the chart's whole file, and what it leaves out falls back to slow defaults."""
    (own,) = [one for one in assets.documents("kueue", "release") if one["kind"] == "ConfigMap"]
    theirs = yaml.safe_load(own["data"][CONFIGURATION])
    ours = yaml.safe_load(kueue_values(["batch/job"])["managerConfig"]["controllerManagerConfigYaml"])
    assert ours.pop("integrations") == {"frameworks": ["batch/job"]}
    for part in ("integrations", "internalCertManagement"):
        # Its certificates are made with the same names by default.
        theirs.pop(part)
    # The dashboards of queues need quota and use, which Kueue exports only if asked; its chart does not ask.
    assert ours["metrics"].pop("enableClusterQueueResources") is True
    assert ours == theirs
