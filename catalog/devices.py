"""The software that registers a node's devices with Kubernetes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Devices:
    """The software that registers GPUs, Neuron chips and EFA interfaces with Kubernetes."""

    gpu: Literal["device-plugin", "gpu-operator", "none"] = "device-plugin"
    """NVIDIA's device plugin; or its GPU Operator, which brings metrics and MIG too."""
    efa: Literal["device-plugin", "dra", "none"] = "device-plugin"
    """AWS's EFA device plugin; or its driver of dynamic resource allocation, by which pods claim interfaces."""
    neuron: Literal["device-plugin", "none"] = "device-plugin"
    """AWS's Neuron device plugin."""
    neuron_scheduler: bool = False
    """Installs Neuron's scheduler too, for pods that use a part of a node's chips."""


NO_DEVICES = Devices(gpu="none", efa="none", neuron="none")
"""No device software: another installation has it, such as HyperPod's own chart."""
