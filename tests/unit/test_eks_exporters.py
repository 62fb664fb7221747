"""Exporters' objects on Kubernetes: Kubernetes' own schemas take them, and their pods have no privilege."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest

from catalog.kubernetes import GPU, INSTANCE_TYPE_LABEL, NEURON, SHARED_CLAIM
from catalog.pool import Pool
from catalog.ports import EFA_EXPORTER_PORT, RUNS_EXPORTER_PORT
from catalog.reference_types import CPU, REFERENCE_TYPES
from catalog.reference_types import GPU as GPU_TYPE
from catalog.reference_types import NEURON as NEURON_TYPE
from tests.unit.test_eks_objects import KUBERNETES
from trainforge.eks.efa_exporter import efa_exporter
from trainforge.eks.runs_exporter import runs_exporter

POOLS = [Pool(f"pool-{number}", name, 2, "us-west-2a") for number, name in enumerate(REFERENCE_TYPES)]
IMAGE = "111122223333.dkr.ecr.us-west-2.amazonaws.com/exporters:1"


def daemon_set(**options: str) -> dict[str, Any]:
    documents = efa_exporter(POOLS, image=IMAGE, **options)
    [found] = [one for one in documents if one["kind"] == "DaemonSet"]
    return found


def pod(**options: str) -> dict[str, Any]:
    specification: dict[str, Any] = daemon_set(**options)["spec"]["template"]["spec"]
    return specification


@pytest.mark.parametrize("version", KUBERNETES)
def test_objects_are_kubernetes_own(version: str) -> None:
    for document in (*efa_exporter(POOLS, image=IMAGE), *runs_exporter("training", image=IMAGE)):
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("prefix", ["", "ml."])
def test_pods_go_to_the_types_with_efa(prefix: str) -> None:
    affinity = pod(type_prefix=prefix)["affinity"]["nodeAffinity"]
    [term] = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    types = sorted(prefix + name for name in (GPU_TYPE, NEURON_TYPE))
    assert term["matchExpressions"] == [{"key": INSTANCE_TYPE_LABEL, "operator": "In", "values": types}]
    assert {one["key"] for one in pod()["tolerations"]} == {GPU, NEURON}


def test_without_efa_there_is_nothing() -> None:
    assert efa_exporter([Pool("cpu", CPU, 2, "us-west-2a")], image=IMAGE) == []


def test_a_pod_has_no_privilege() -> None:
    specification = pod()
    [container] = specification["containers"]
    assert specification["securityContext"]["runAsNonRoot"] is True
    assert specification["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert specification["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(specification)
    assert [(one["hostPath"], one["name"]) for one in specification["volumes"]] == [
        ({"path": "/sys", "type": "Directory"}, "sys")
    ]
    assert all(mount["readOnly"] for mount in container["volumeMounts"])


def test_the_program_reads_the_mounted_sysfs_at_the_catalogs_port() -> None:
    [container] = pod()["containers"]
    assert container["image"] == IMAGE
    [mount] = container["volumeMounts"]
    assert f"--sys={mount['mountPath']}" in container["args"]
    assert f"--port={EFA_EXPORTER_PORT}" in container["args"]
    assert container["ports"] == [{"name": "metrics", "containerPort": EFA_EXPORTER_PORT, "protocol": "TCP"}]


def test_the_policy_lets_in_its_port_and_nothing_out() -> None:
    [policy] = [one for one in efa_exporter(POOLS, image=IMAGE) if one["kind"] == "NetworkPolicy"]
    assert policy["spec"]["ingress"] == [{"ports": [{"port": EFA_EXPORTER_PORT, "protocol": "TCP"}]}]
    assert policy["spec"]["egress"] == []
    assert (
        daemon_set()["spec"]["template"]["metadata"]["labels"] == policy["spec"]["podSelector"]["matchLabels"]
    )


def test_the_runs_exporter_reads_the_claim_and_there_is_one() -> None:
    documents = runs_exporter("training", image=IMAGE)
    assert {one["metadata"]["namespace"] for one in documents} == {"training"}
    [deployment] = [one for one in documents if one["kind"] == "Deployment"]
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    specification = deployment["spec"]["template"]["spec"]
    [volume], [container] = specification["volumes"], specification["containers"]
    assert volume["persistentVolumeClaim"] == {"claimName": SHARED_CLAIM, "readOnly": True}
    [mount] = container["volumeMounts"]
    assert mount["readOnly"] is True
    assert f"--runs={mount['mountPath']}/runs" in container["args"]
    assert container["ports"][0]["containerPort"] == RUNS_EXPORTER_PORT
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert specification["securityContext"]["runAsNonRoot"] is True
