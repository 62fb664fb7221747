"""Containers that run on every node of a run besides the program: before it, or beside it until it ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from catalog.spelling import did_you_mean
from workloads.id_form import ALLOWED, has_id_form
from workloads.reserved_variables import VARIABLE, is_reserved, looks_secret
from workloads.words import PARAMETER

When = Literal["before", "beside"]

MAX_CONTAINERS = 9
"""The most that a workload may have: Batch takes ten a node, the program's among them (botocore, EcsProperties)."""

_RESERVED = ("init-pytorch", "launcher", "node", "pytorch", "worker")
"""Names of containers that renderers and operators give the program's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container on every node of a run.

    One that runs `before` the program must end with 0, and the program starts after it. One that runs `beside` it is
    started before the program and ended with it; where it ends earlier, that changes nothing of the run. They start in
    the order in which the workload has them. Each start of a run starts them again.

    `image` is a reference of an image; empty for the workload's own. No shell reads `command`, and nothing in it
    expands. A container sees the shared file system at its path, and the variables of the workload's assets and of its
    own `environment`. `secrets` are names of secrets of the workload that it has too. `vcpus` and `memory_mib` are what
    it takes of its node; accelerators are the program's.
    """

    name: str
    command: tuple[str, ...]
    when: When
    image: str = ""
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    secrets: tuple[str, ...] = ()
    vcpus: int = 1
    memory_mib: int = 512

    def __post_init__(self) -> None:
        """Refuse a container that no scheduler starts.

        Raises:
            ValueError: everything that is wrong with it.
        """
        if found := [*_problems(self)]:
            raise ValueError(f"container '{self.name}': {'; '.join(found)}")


def _problems(container: Container) -> Iterator[str]:
    if not has_id_form(container.name):
        yield f"a name is {ALLOWED}"
    elif container.name in _RESERVED:
        yield f"the name '{container.name}' is the program's"
    if container.when not in get_args(When):
        yield f"'{container.when}' is neither {' nor '.join(get_args(When))}"
    if not container.command:
        yield "it has no command"
    if not all(word.isprintable() for word in container.command):
        yield "its command has line breaks or other control characters"
    if any(PARAMETER in word for word in container.command):
        yield f"its command has '{PARAMETER}', which AWS Batch replaces"
    if container.image != "".join(container.image.split()):
        yield f"the image '{container.image}' has spaces"
    if container.vcpus < 1 or container.memory_mib < 1:
        yield f"{container.vcpus} vCPUs and {container.memory_mib} MiB of memory; 1 or more of each"
    for name, value in container.environment.items():
        if not VARIABLE.fullmatch(name):
            yield f"'{name}' is not the name of a variable"
        elif is_reserved(name):
            yield f"the variable '{name}' is set by the launch itself"
        elif looks_secret(name):
            yield f"the variable '{name}' looks like a secret; name it in 'secrets'"
        elif not value.isprintable():
            yield f"the value of '{name}' has line breaks or other control characters"


def check_containers(
    containers: Sequence[Container], secrets: Sequence[str], variables: Sequence[str]
) -> Iterator[str]:
    """Yield what is wrong with the containers of a workload together.

    `secrets` are the names of its secrets, `variables` those that every container has anyway.
    """
    names = [container.name for container in containers]
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        yield f"{names.count(name)} containers are called '{name}'"
    if len(names) > MAX_CONTAINERS:
        yield f"{len(names)} containers are more than {MAX_CONTAINERS}"
    for container in containers:
        for secret in container.secrets:
            if secret not in secrets:
                guess = did_you_mean(secret, secrets)
                yield f"the workload has no secret '{secret}', which the container '{container.name}' needs{guess}"
        for variable in container.environment:
            if variable in variables:
                yield f"the container '{container.name}' and an asset have the variable '{variable}'"
