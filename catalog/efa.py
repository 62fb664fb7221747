"""The environment variables with which NCCL and Neuron's collectives use EFA, for given versions of the stack.

Source of the rules: the EFA cheat sheet of the predecessor repository (awslabs/awsome-distributed-ai), read
July 2026, except where a constant names another.
"""

from __future__ import annotations

from catalog.instance_facts import InstanceFacts
from catalog.versions import AWS_OFI_NCCL, EFA_INSTALLER, LIBFABRIC, NCCL, version

SOCKET_INTERFACES = "^lo,docker,ecs,veth"
"""NCCL_SOCKET_IFNAME: every interface but the loopback and those of containers. ENA's names differ by image
(ens5, enp71s0, eth0), so they are excluded, not listed."""

_P4_P5 = frozenset({"p4d", "p4de", "p5", "p5e", "p5en"})
_SLOW_SHARED_MEMORY = frozenset({"g5", "g6"})


def efa_environment(
    instance: InstanceFacts,
    libfabric: str = LIBFABRIC,
    aws_ofi_nccl: str = AWS_OFI_NCCL,
    nccl: str = NCCL,
    efa_installer: str = EFA_INSTALLER,
) -> dict[str, str]:
    """Return the environment variables of a training process on this instance type, sorted by name.

    Only what helps: variables that a current stack ignores or sets itself are left out, and the RDMAV_*
    ones never appear (they break EFA). A type without EFA gets only what concerns sockets and shared
    memory.

    Raises:
        ValueError: a version does not begin with a number.
    """
    if instance.has_neuron:
        return _neuron(instance)
    variables = {"NCCL_SOCKET_IFNAME": SOCKET_INTERFACES}
    if instance.family in _SLOW_SHARED_MEMORY and instance.accelerators > 1:
        # Twice the bandwidth between the GPUs of a machine without NVLink.
        variables["NCCL_SHM_USE_CUDA_MEMCPY"] = "1"
    if instance.supports_efa:
        # Large pages make fork() of data loaders fail with "Cannot allocate memory".
        variables["FI_EFA_USE_HUGE_PAGE"] = "0"
        if instance.has_gpus:
            variables |= _older_stack(instance, libfabric, aws_ofi_nccl)
            if version(efa_installer) < version("1.29.1") and version(nccl) >= version("2.19.0"):
                # Otherwise memory registration fails in register_rail_mr_buffer with RC -22.
                variables["FI_EFA_SET_CUDA_SYNC_MEMOPS"] = "0"
    return dict(sorted(variables.items()))


def _older_stack(instance: InstanceFacts, libfabric: str, aws_ofi_nccl: str) -> dict[str, str]:
    """Return the variables that P4 and P5 need with an old libfabric or plugin, which does not choose RDMA itself."""
    plugin = version(aws_ofi_nccl)
    if instance.family not in _P4_P5:
        return {}
    if version(libfabric) >= version("1.18.0") and plugin >= version("1.7.0"):
        return {}
    variables = {"FI_EFA_USE_DEVICE_RDMA": "1"}
    # The cheat sheet says "1.5.0 and older" and then "from 1.6.0": versions in between count as older.
    if plugin < version("1.6.0"):
        variables |= {"FI_PROVIDER": "efa", "NCCL_PROTO": "simple"}
    return variables


def _neuron(instance: InstanceFacts) -> dict[str, str]:
    """Return what AWS Neuron's documentation asks for between nodes ("How to prepare trn1.32xlarge for
    multi-node execution"). Its FI_EFA_FORK_SAFE is for Amazon Linux 2 only, which has reached its end.
    """
    if not instance.supports_efa:
        return {}
    return {"FI_EFA_USE_DEVICE_RDMA": "1", "FI_PROVIDER": "efa"}


_CHEAT_SHEET = "the cheat sheet"
_NEURON_GUIDE = "AWS Neuron, 'How to prepare trn1.32xlarge for multi-node execution'"

REASONS: dict[str, tuple[str, str]] = {
    "FI_EFA_SET_CUDA_SYNC_MEMOPS": (
        "0 with an EFA installer before 1.29.1 and NCCL 2.19 or newer: memory registration fails otherwise",
        _CHEAT_SHEET,
    ),
    "FI_EFA_USE_DEVICE_RDMA": (
        "1 where the plugin does not choose RDMA itself: on Neuron, and on P4 and P5 with libfabric before 1.18 or "
        "aws-ofi-nccl before 1.7",
        f"{_NEURON_GUIDE}; {_CHEAT_SHEET}",
    ),
    "FI_EFA_USE_HUGE_PAGE": (
        "0: with huge pages fork() of data loaders fails with 'Cannot allocate memory'; a small part of the speed",
        _CHEAT_SHEET,
    ),
    "FI_PROVIDER": (
        "efa on Neuron, and on P4 and P5 with aws-ofi-nccl before 1.6; newer plugins choose it",
        f"{_NEURON_GUIDE}; {_CHEAT_SHEET}",
    ),
    "NCCL_PROTO": ("simple on P4 and P5 with aws-ofi-nccl before 1.6; newer plugins set it", _CHEAT_SHEET),
    "NCCL_SHM_USE_CUDA_MEMCPY": (
        "1 on g5 and g6 with several GPUs, which have no NVLink: twice the bandwidth between them",
        _CHEAT_SHEET,
    ),
    "NCCL_SOCKET_IFNAME": (
        "excludes the loopback and interfaces of containers, because ENA's names differ by image; it is for NCCL's "
        "bootstrap, not for EFA",
        f"{_CHEAT_SHEET}, with the names that its Dockerfiles exclude",
    ),
}
"""The reason of each variable that `efa_environment` may set, and its source; the cheat sheet is that of the module."""

NEVER_SET: dict[str, str] = {
    "FI_EFA_ENABLE_SHM_TRANSFER": "has no effect: it is the default",
    "FI_EFA_FORK_SAFE": "has no effect with Linux 5.15 or newer",
    "NCCL_BUFFSIZE": "the default is right",
    "NCCL_MIN_NCHANNELS": "more channels make messages smaller, and EFA idle",
    "NCCL_NSOCKS_PERTHREAD": "of NCCL's sockets: nothing to EFA",
    "NCCL_SOCKET_NTHREADS": "of NCCL's sockets: nothing to EFA",
    "RDMAV_FORK_SAFE": "breaks EFA, as every variable of RDMAV_ does",
}
"""Variables of older guides that trainforge does not set, with the reason. Source: the cheat sheet."""

MIN_VERSIONS: dict[str, dict[str, str]] = {
    "p5": {"NCCL": "2.18.0", "aws-ofi-nccl": "1.7.2"},
    "p6-b200": {"EFA installer": "1.41.0", "aws-ofi-nccl": "1.15.0"},
}
"""Oldest versions that work, by family. Sources: the cheat sheet for P5; the Deep Learning AMI developer
guide, "P6 Supported DLAMIs", for P6-B200. Families that are absent: unknown."""


def outdated_versions(
    instance: InstanceFacts,
    aws_ofi_nccl: str = AWS_OFI_NCCL,
    nccl: str = NCCL,
    efa_installer: str = EFA_INSTALLER,
) -> dict[str, tuple[str, str]]:
    """Return the parts of the stack that are too old for this type: name to (given, oldest that works).

    Raises:
        ValueError: a version does not begin with a number.
    """
    given = {AWS_OFI_NCCL.name: aws_ofi_nccl, NCCL.name: nccl, EFA_INSTALLER.name: efa_installer}
    oldest = MIN_VERSIONS.get(instance.family, {})
    return {
        name: (given[name], least) for name, least in oldest.items() if version(given[name]) < version(least)
    }
