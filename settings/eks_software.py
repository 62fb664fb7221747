"""Settings of what runs on an EKS cluster beside the jobs: add-ons, device plugins, operators, queues."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from settings.model import Model


class AddOnSettings(Model):
    """An EKS add-on, where it is not as EKS makes it by default."""

    version: str | None = None
    """Its version, such as v1.2.3-eksbuild.1; absent: EKS's default for the Kubernetes version."""
    configuration: dict[str, object] = {}
    """Its own configuration; `aws eks describe-addon-configuration` shows what it takes."""


class DeviceSettings(Model):
    """Which software tells Kubernetes of GPUs, Neuron chips and EFA interfaces."""

    gpu: Literal["device-plugin", "gpu-operator", "none"] = "device-plugin"
    """NVIDIA's device plugin; or its GPU Operator, which brings metrics and MIG too."""
    efa: Literal["device-plugin", "dra", "none"] = "device-plugin"
    """AWS's EFA device plugin; or its driver of dynamic resource allocation, by which pods claim interfaces."""
    neuron: Literal["device-plugin", "none"] = "device-plugin"
    """AWS's Neuron device plugin."""
    neuron_scheduler: bool = False
    """Whether Neuron's scheduler comes too, for pods that take a part of a node's chips."""


class QueueSettings(Model):
    """A queue of jobs and its share of the cluster."""

    nodes: dict[str, Annotated[int, Field(ge=0, le=6758)]] = Field(min_length=1)
    """Whole nodes that are the queue's, by pool."""
    borrow: bool = True
    """Whether it also takes what other queues leave idle, and lends them what it leaves idle itself."""


JobOperator = Literal["trainer", "training-operator", "mpi-operator"]


class SoftwareSettings(Model):
    """What runs on the cluster beside the jobs."""

    add_ons: dict[str, AddOnSettings | None] = {}
    """EKS add-ons by name, beside those that every cluster gets; null leaves one of these out."""
    devices: DeviceSettings = DeviceSettings()
    """What tells Kubernetes of devices."""
    jobs: list[JobOperator] = ["trainer"]
    """Operators of jobs: Kubeflow Trainer (TrainJob), its training operator v1 (PyTorchJob), the MPI operator."""
    queues: dict[str, QueueSettings] = {}
    """Queues by name, the first for jobs that name none; absent: no Kueue, and first come, first served."""
    bucket_claim: bool = True
    """Whether pods can claim the data bucket as files, by Mountpoint for Amazon S3."""
    cert_manager: bool = False
    """Whether cert-manager is installed; nothing else here needs it."""
