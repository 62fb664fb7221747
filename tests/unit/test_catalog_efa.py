"""The EFA environment, rule by rule of the cheat sheet."""

from __future__ import annotations

import pytest

from catalog.efa import NEVER_SET, REASONS, SOCKET_INTERFACES, efa_environment, outdated_versions
from catalog.instance_facts import InstanceFacts
from catalog.instances import INSTANCES, instance

SOCKET = {"NCCL_SOCKET_IFNAME": SOCKET_INTERFACES}
MODERN = {**SOCKET, "FI_EFA_USE_HUGE_PAGE": "0"}
DEVICE_RDMA = {**MODERN, "FI_EFA_USE_DEVICE_RDMA": "1"}
OLDEST = {**DEVICE_RDMA, "FI_PROVIDER": "efa", "NCCL_PROTO": "simple"}
NEURON = {"FI_PROVIDER": "efa", "FI_EFA_USE_DEVICE_RDMA": "1"}


@pytest.mark.parametrize(
    ("name", "libfabric", "plugin", "expected"),
    [
        # 3.1: a current stack needs one variable.
        ("p5.48xlarge", "1.18.0", "1.7.0", MODERN),
        ("p5.48xlarge", "2.4.0amzn1.0", "v1.19.0", MODERN),
        ("p4d.24xlarge", "1.18", "1.7.4-aws", MODERN),
        # 3.2
        ("p4d.24xlarge", "1.18.0", "1.6.0", DEVICE_RDMA),
        ("p5.48xlarge", "1.18.0", "1.6.9", DEVICE_RDMA),
        # Both have to be new: an old libfabric asks for the variable, too.
        ("p5.48xlarge", "1.17.1", "1.7.0", DEVICE_RDMA),
        # 3.3
        ("p4d.24xlarge", "1.16.0", "1.5.0", OLDEST),
        ("p4de.24xlarge", "1.18.0", "1.4.0", OLDEST),
        # Only P4 and P5 do RDMA with such a plugin.
        ("g4dn.8xlarge", "1.16.0", "1.5.0", MODERN),
        ("p3dn.24xlarge", "1.16.0", "1.5.0", MODERN),
        ("hpc7a.96xlarge", "1.16.0", "1.5.0", MODERN),
    ],
)
def test_presets(name: str, libfabric: str, plugin: str, expected: dict[str, str]) -> None:
    assert efa_environment(instance(name), libfabric, plugin) == expected


@pytest.mark.parametrize(
    ("installer", "nccl", "is_set"),
    [
        ("1.29.0", "2.19.0", True),
        ("1.29.0", "v2.30.4-1", True),
        ("1.29.0", "2.18.6", False),
        ("1.29.1", "2.19.0", False),
        ("1.48.0", "2.30.4", False),
    ],
)
def test_memory_operations_need_help_from_old_installers_only(
    installer: str, nccl: str, is_set: bool
) -> None:
    variables = efa_environment(instance("p5.48xlarge"), nccl=nccl, efa_installer=installer)
    assert variables.get("FI_EFA_SET_CUDA_SYNC_MEMOPS") == ("0" if is_set else None)


@pytest.mark.parametrize(
    ("name", "is_set"),
    [
        ("g5.12xlarge", True),
        ("g6.48xlarge", True),
        ("g5.8xlarge", False),
        ("g6e.48xlarge", False),
        ("p5.48xlarge", False),
    ],
)
def test_shared_memory_copies_by_cuda_between_the_gpus_of_g5_and_g6(name: str, is_set: bool) -> None:
    assert ("NCCL_SHM_USE_CUDA_MEMCPY" in efa_environment(instance(name))) is is_set


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("p5.48xlarge", MODERN),
        ("g5.xlarge", SOCKET),
        ("m5.large", SOCKET),
        ("trn1.32xlarge", NEURON),
        ("trn2u.48xlarge", NEURON),
        ("trn1.2xlarge", {}),
        ("inf2.48xlarge", {}),
    ],
)
def test_pinned_stack(name: str, expected: dict[str, str]) -> None:
    assert efa_environment(instance(name)) == expected


@pytest.mark.parametrize("facts", INSTANCES.values(), ids=lambda facts: facts.name)
def test_what_breaks_efa_is_never_set(facts: InstanceFacts) -> None:
    for plugin in ("1.5.0", "1.6.0", "1.19.0"):
        variables = efa_environment(facts, "1.16.0", plugin, "2.19.0", "1.28.0")
        assert list(variables) == sorted(variables)
        assert not [name for name in variables if name.startswith("RDMAV_")]
        assert facts.supports_efa or not [name for name in variables if name.startswith("FI_")]


def test_socket_interfaces_leave_out_the_loopback_and_containers() -> None:
    assert SOCKET_INTERFACES.startswith("^")
    assert {"lo", "docker"} <= set(SOCKET_INTERFACES[1:].split(","))


def test_nonsense_versions_are_refused() -> None:
    with pytest.raises(ValueError, match="version 'latest' is not a version"):
        efa_environment(instance("p5.48xlarge"), libfabric="latest")


@pytest.mark.parametrize(
    ("name", "plugin", "nccl", "installer", "expected"),
    [
        ("p5.48xlarge", "1.7.1", "2.18.0", "1.30.0", {"aws-ofi-nccl": ("1.7.1", "1.7.2")}),
        ("p5.48xlarge", "1.7.2", "2.17.1", "1.30.0", {"NCCL": ("2.17.1", "2.18.0")}),
        ("p6-b200.48xlarge", "1.15.0", "2.27.5", "1.40.0", {"EFA installer": ("1.40.0", "1.41.0")}),
        ("g5.8xlarge", "1.0.0", "2.0.0", "1.0.0", {}),
    ],
)
def test_versions_too_old_for_a_type(
    name: str, plugin: str, nccl: str, installer: str, expected: dict[str, tuple[str, str]]
) -> None:
    assert outdated_versions(instance(name), plugin, nccl, installer) == expected


@pytest.mark.parametrize("facts", INSTANCES.values(), ids=lambda facts: facts.name)
def test_the_pins_are_new_enough_for_every_type(facts: InstanceFacts) -> None:
    assert outdated_versions(facts) == {}


def test_every_variable_has_a_reason_and_no_other_is_explained() -> None:
    stacks = (("2.4.0", "1.19.0", "2.28.9", "1.48.0"), ("1.16.0", "1.5.0", "2.19.0", "1.29.0"))
    found = {
        name for facts in INSTANCES.values() for stack in stacks for name in efa_environment(facts, *stack)
    }
    assert found == REASONS.keys()
    assert not found & NEVER_SET.keys()
    assert all(reason and source for reason, source in REASONS.values())
