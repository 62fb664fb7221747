"""Neuron Monitor on Kubernetes: a pod of AWS's own image on each node with Neuron devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from catalog.instances import instance
from catalog.kubernetes import NEURON, device_tolerations
from catalog.pool import Pool
from catalog.ports import NEURON_MONITOR_PORT
from catalog.versions import NEURON_MONITOR
from trainforge.eks.devices import on_types
from trainforge.eks.exporter_pods import NAMESPACE, ServedPort

NAME = "neuron-monitor"

_CONFIGURATION = "/opt/aws/neuron/bin/neuron-monitor.conf"
"""The configuration in the image, which AWS's manifest names."""


def neuron_monitor(pools: Sequence[Pool]) -> list[dict[str, Any]]:
    """Return the objects of Neuron Monitor: account, network policy and DaemonSet; none without Neuron devices.

    Command, port, resources and privilege are those of AWS's manifest (aws-neuron/aws-neuron-sdk,
    src/k8/k8s-neuron-monitor-daemonset.yml, commit 9f6387f): the monitor reads the devices of the node. Its list of
    instance types is old and it tolerates no taint, so both are ours: the pools' types, and the taint of their nodes.

    Raises:
        UnknownInstanceTypeError: the catalog does not have a pool's instance type.
    """
    types = sorted({pool.instance_type for pool in pools if instance(pool.instance_type).has_neuron})
    if not types:
        return []
    served = ServedPort(name=NAME, port=NEURON_MONITOR_PORT)
    container = {
        "name": NAME,
        "image": str(NEURON_MONITOR),
        "command": ["/opt/bin/entrypoint.sh"],
        "args": ["--port", str(served.port), "--neuron-monitor-config", _CONFIGURATION],
        "ports": [served.container_port()],
        "env": [{"name": "GOMEMLIMIT", "value": "160MiB"}],
        "resources": {
            "requests": {"cpu": "256m", "memory": "128Mi"},
            "limits": {"cpu": "500m", "memory": "256Mi"},
        },
        "securityContext": {"privileged": True},
    }
    pod = {
        "affinity": on_types(types),
        "tolerations": device_tolerations([NEURON]),
        "containers": [container],
    }
    update = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}}
    return [
        *served.around(NAMESPACE),
        served.controller("DaemonSet", NAMESPACE, {"updateStrategy": update}, pod),
    ]
