"""The EFA exporter on Kubernetes: a pod without privileges on each node with EFA interfaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from catalog.instances import instance
from catalog.kubernetes import device_tolerations
from catalog.pool import Pool
from catalog.ports import EFA_EXPORTER_PORT
from trainforge.eks.devices import on_types
from trainforge.eks.exporter_pods import NAMESPACE, ExporterPod

NAME = "efa-exporter"

_SYS = "/host/sys"


def efa_exporter(pools: Sequence[Pool], *, image: str, type_prefix: str = "") -> list[dict[str, Any]]:
    """Return the objects of the exporter: account, network policy and DaemonSet.

    `image` is the exporters' image. The pods run on the pools' instance types with EFA, whatever taint keeps others
    away. `type_prefix` goes before the types in the nodes' labels (`ml.` on HyperPod). The node's sysfs is mounted
    read-only: a container's own shows RDMA devices where all network namespaces share them, which is the kernel's
    default and need not be so. Collectors find the pods by their labels, and the port by its name `metrics`.

    Raises:
        UnknownInstanceTypeError: the catalog does not have a pool's instance type.
    """
    types = sorted(
        {f"{type_prefix}{pool.instance_type}" for pool in pools if instance(pool.instance_type).supports_efa}
    )
    if not types:
        return []
    pod = ExporterPod(
        name=NAME,
        image=image,
        arguments=["efa", f"--sys={_SYS}"],
        port=EFA_EXPORTER_PORT,
        volume={"name": "sys", "hostPath": {"path": "/sys", "type": "Directory"}},
        folder=_SYS,
        memory_limit="128Mi",
        more={
            "affinity": on_types(types),
            "tolerations": device_tolerations(),
        },
    )
    update = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}}
    return [
        *pod.around(NAMESPACE),
        pod.controlled("DaemonSet", NAMESPACE, {"updateStrategy": update}),
    ]
