"""Rules on instance types: known ones, offered where they are wanted, with options that they have."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import lru_cache

from catalog.instance_facts import InstanceFacts
from catalog.instances import INSTANCES, UnknownInstanceTypeError
from settings.checks.rule import Problem, Subject, error, warning
from settings.checks.selection import facts, hyperpod_instance_types, instance_types
from settings.parser.values import listed, shown


@error("instance-type-unknown")
def _unknown(subject: Subject) -> Iterator[Problem]:
    """Network interfaces, Slurm's view of a node and all that follows come from the catalog's facts."""
    for path, name, what in instance_types(subject.settings):
        if facts(name) is None:
            message, _, hint = _unknown_message(name).partition("; ")
            yield Problem(path, name, f"{what}: {message}", hint)


@lru_cache
def _unknown_message(name: str) -> str:
    # The catalog compares with every type it has, and pools often share a type.
    return str(UnknownInstanceTypeError(shown(name)))


def _offered_nearest(found: InstanceFacts) -> list[str]:
    offered = [name for name, other in INSTANCES.items() if other.hyperpod]
    kin = [name for name in offered if INSTANCES[name].is_accelerated == found.is_accelerated]
    return difflib.get_close_matches(found.name, kin, n=3, cutoff=0.5)


@error("instance-type-hyperpod", too_strict=True)
def _not_on_hyperpod(subject: Subject) -> Iterator[Problem]:
    """SageMaker HyperPod offers a list of types of its own (botocore: ClusterInstanceType).

    Too strict where SageMaker has added a type since the catalog was refreshed.
    """
    for path, name, what in hyperpod_instance_types(subject.settings):
        found = facts(name)
        if found and not found.hyperpod:
            near = _offered_nearest(found)
            yield Problem(
                path,
                name,
                f"{what}: HyperPod does not offer the instance type '{name}'",
                f"it offers {listed(near)} among others" if near else "",
            )


@warning("controller-accelerated")
def _controller(subject: Subject) -> Iterator[Problem]:
    """The controller schedules and runs nothing; accelerators in it are paid for and idle."""
    if subject.settings.hyperpod:
        yield from _idle(
            "hyperpod.controller.instance_type",
            subject.settings.hyperpod.controller.instance_type,
            "the controller",
        )


@warning("login-accelerated")
def _login(subject: Subject) -> Iterator[Problem]:
    """People edit and submit on login nodes; Slurm gives nobody the accelerators there."""
    hyperpod = subject.settings.hyperpod
    if hyperpod and hyperpod.login:
        yield from _idle("hyperpod.login.instance_type", hyperpod.login.instance_type, "a login node")


def _idle(path: str, name: str, what: str) -> Iterator[Problem]:
    found = facts(name)
    if found and found.accelerator:
        accelerators = f"{found.accelerator.count} {found.accelerator.name}"
        yield Problem(
            path,
            name,
            f"{what} of type '{name}' has accelerators ({accelerators}) that no job can use",
            "choose a type without accelerators",
        )


@error("interface-without-efa")
def _interface(subject: Subject) -> Iterator[Problem]:
    """The interface type says how EFA is attached; on a type without EFA the API refuses it."""
    for name, pool in subject.settings.pools.items():
        found = facts(pool.instance_type)
        if pool.interface_type and found and not found.supports_efa:
            yield Problem(
                f"pools.{name}.interface_type",
                pool.interface_type,
                f"pool '{name}': the instance type '{pool.instance_type}' has no EFA",
                "remove 'interface_type'",
            )


@error("threads-per-core")
def _threads(subject: Subject) -> Iterator[Problem]:
    """EC2 accepts only the threads per core that it lists for a type (DescribeInstanceTypes, VCpuInfo)."""
    for name, pool in subject.settings.pools.items():
        found = facts(pool.instance_type)
        if pool.threads_per_core is None or found is None:
            continue
        # EC2 names no choice for some types; then only what their cores cannot do is certain.
        valid = found.valid_threads_per_core or tuple(range(1, found.threads_per_core + 1))
        if pool.threads_per_core not in valid:
            yield Problem(
                f"pools.{name}.threads_per_core",
                pool.threads_per_core,
                f"pool '{name}': cores of the type '{pool.instance_type}' run {listed(valid)} threads, "
                f"not {pool.threads_per_core}",
                "remove 'threads_per_core'",
            )
