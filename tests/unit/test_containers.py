"""Containers besides the program: what is refused, and what each format makes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from workloads.asset import Asset
from workloads.containers import Container
from workloads.secret import Secret
from workloads.spec import Workload

FETCH = Container(name="fetch", command=("sh", "-c", "echo fetched"), when="before")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "A"}, "lower-case letters"),
        ({"name": "node"}, "the name 'node' is the program's"),
        ({"when": "after"}, "'after' is neither before nor beside"),
        ({"command": ()}, "it has no command"),
        ({"command": ("sh", "-c", "a\nb")}, "its command has line breaks"),
        ({"image": "a b"}, "the image 'a b' has spaces"),
        ({"vcpus": 0}, "0 vCPUs and 512 MiB of memory; 1 or more of each"),
        ({"environment": {"A-B": ""}}, "'A-B' is not the name of a variable"),
        ({"environment": {"RANK": "1"}}, "the variable 'RANK' is set by the launch itself"),
        ({"environment": {"HF_TOKEN": "hf_x"}}, "'HF_TOKEN' looks like a secret; name it in 'secrets'"),
        ({"environment": {"A": "a\nb"}}, "the value of 'A' has line breaks"),
    ],
)
def test_a_container_that_no_scheduler_starts_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match="container '") as refused:
        replace(FETCH, **change)
    assert told in str(refused.value)
    assert "hf_x" not in str(refused.value)


def test_containers_that_do_not_fit_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="2 containers") as refused:
        Workload(
            name="sample",
            assets=(Asset("c4", "c4", "C4"),),
            secrets=(Secret("hub", "HF_TOKEN"),),
            containers=(FETCH, replace(FETCH, secrets=("hubb",), environment={"C4": "x"})),
        )
    assert str(refused.value) == (
        "2 containers are called 'fetch'; the workload has no secret 'hubb', which the container 'fetch' needs (did "
        "you mean 'hub'?); the container 'fetch' and an asset have the variable 'C4'"
    )
    with pytest.raises(ValueError, match="10 containers are more than 9"):
        Workload(name="sample", containers=tuple(replace(FETCH, name=f"c{n}") for n in range(10)))
