"""Requirements of an AWS Batch job's container on its host: devices, shared memory, limits, image.

Source: the AWS Batch templates for P4, P5 and P6 of the predecessor repository
(awslabs/awsome-distributed-ai); for the paths of Neuron devices, the AWS Neuron documentation.
"""

from __future__ import annotations

from dataclasses import dataclass

from catalog.instance_facts import InstanceFacts

SHARED_MEMORY_MIB: dict[str, int] = {
    **dict.fromkeys(("p4d", "p4de"), 8192),
    **dict.fromkeys(("p5", "p5e", "p5en", "p6-b200", "p6-b300", "p6e-gb200"), 49152),
}
"""Size of /dev/shm in MiB by family. Source: predecessor's Batch templates (P4 8192, P5 and P6 49152)."""

SCRATCH = "/scratch"
"""The mount path of hosts' own disks; a folder of the root volume on hosts without disks."""

HOST_FOLDER = f"{SCRATCH}/.trainforge"
"""The folder by which a host and the jobs on it tell each other of metrics: each container mounts the host's disks. It
has the host's name in `node`, and a file in `runs` for each start of a run whose node 0 is here (workloads/runtime/
batch_host.py)."""

MAX_DEFINITION_BYTES = 24 * 1024
"""Size of a job definition as RegisterJobDefinition takes it. Source: Batch User Guide, "AWS Batch service quotas"
(24 KiB; it cannot be raised)."""

UNHEALTHY_HOST = 82
"""Exit code of a job's node on whose host the health checks found a fault (workloads/runtime/exit_codes.py)."""

UNHEALTHY_OTHER = 83
"""Exit code of a job's main node when another node ended with that: no host of its own is terminated for it."""

DEFAULT_SHARED_MEMORY_MIB = 8192
"""Size of /dev/shm in MiB for all other families: our choice (the P4's size), no source names one."""


@dataclass(frozen=True, slots=True)
class Ulimit:
    """A resource limit of a container, in Batch's terms; -1 means unlimited."""

    name: str
    soft_limit: int
    hard_limit: int


ULIMITS: tuple[Ulimit, ...] = (
    # EFA registers memory with the adapter: locked memory must not be limited.
    Ulimit("memlock", -1, -1),
    Ulimit("stack", 67108864, 67108864),
    Ulimit("nofile", 1024000, 1024000),
)
"""Limits of every job's container. Source: predecessor's Batch templates."""


def batch_devices(instance: InstanceFacts) -> tuple[str, ...]:
    """Return the paths of the device files that a job's container needs: one for each EFA and each Neuron device.

    GPUs are no devices here: Batch asks for them by number (resource requirement GPU).
    """
    paths = [f"/dev/infiniband/uverbs{index}" for index in range(instance.efa_interfaces)]
    if instance.has_neuron:
        paths += [f"/dev/neuron{index}" for index in range(instance.accelerators)]
    return tuple(paths)


def shared_memory_mib(instance: InstanceFacts) -> int:
    """Return the size of /dev/shm for a job's container in MiB, at most half of the machine's memory."""
    size = SHARED_MEMORY_MIB.get(instance.family, DEFAULT_SHARED_MEMORY_MIB)
    return min(size, instance.memory_mib // 2)


NEURON_IMAGE_PARAMETER = "/aws/service/ecs/optimized-ami/amazon-linux-2023/neuron/recommended/image_id"
"""Public SSM parameter with the ECS image for Neuron devices. Source: Amazon ECS Developer Guide, "Retrieving Amazon
ECS-optimized Linux AMI metadata"; the CDK's `EcsOptimizedImage` reads the same."""

_NO_IMAGE = frozenset({"p3", "g3"})
"""Families with GPUs that the image leaves out. Source: botocore, batch Ec2Configuration (ImageType)."""


@dataclass(frozen=True, slots=True)
class HostImage:
    """The machine image of a compute environment: Batch's `image_type`, or the SSM `parameter` that overrides it."""

    image_type: str
    parameter: str = ""


def host_image(instance: InstanceFacts) -> HostImage | None:
    """Return the ECS-optimized image of Amazon Linux 2023 for an instance type, None where Batch has none.

    Source: botocore, batch Ec2Configuration: the image with NVIDIA's driver is for x86 alone, and there is none of
    Batch's own for Neuron devices.
    """
    if instance.has_gpus:
        unsupported = instance.architecture != "x86_64" or instance.family in _NO_IMAGE
        return None if unsupported else HostImage("ECS_AL2023_NVIDIA")
    if instance.has_neuron:
        return HostImage("ECS_AL2023", NEURON_IMAGE_PARAMETER)
    return HostImage("ECS_AL2023")
