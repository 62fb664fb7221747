"""The list of what the emulator takes for granted about moto, compared with the moto that is installed."""

from __future__ import annotations

import inspect
import json
import pkgutil
import subprocess
import sys
from typing import Any

import pytest
from moto.backends import get_backend

from emulator.environment import ACCOUNT, DEFAULT_REGION
from emulator.moto_patches import ADDED, CALLED, HELD, REPLACED, digest, put, put_all
from tests.programs import ROOT

REPLACEMENTS = [(entry, name) for entry in REPLACED for name in entry.digests]
ADDITIONS = [(owner, name) for owner, names in ADDED.items() for name in names]


@pytest.mark.parametrize(
    ("entry", "name"), REPLACEMENTS, ids=[f"{entry.owner}.{name}" for entry, name in REPLACEMENTS]
)
def test_moto_has_what_is_replaced_as_it_was_read(entry: Any, name: str) -> None:
    assert digest(entry.owner, name) == entry.digests[name], (
        f"moto changed {entry.owner}.{name}, which ours replaces because {entry.reason}"
    )


@pytest.mark.parametrize(("owner", "name"), ADDITIONS, ids=[f"{owner}.{name}" for owner, name in ADDITIONS])
def test_moto_lacks_what_is_added(owner: str, name: str) -> None:
    assert not hasattr(pkgutil.resolve_name(owner), name), f"moto has {owner}.{name} now"


@pytest.mark.parametrize("path", CALLED)
def test_what_ours_call_takes_the_same_parameters(path: str) -> None:
    assert tuple(inspect.signature(pkgutil.resolve_name(path)).parameters) == CALLED[path]


@pytest.mark.parametrize("service", HELD)
def test_backends_hold_what_ours_read(service: str) -> None:
    backend = get_backend(service)[ACCOUNT][DEFAULT_REGION]  # type: ignore[call-overload]
    assert [name for name in HELD[service] if not hasattr(backend, name)] == []


def test_the_server_puts_in_what_is_listed_and_nothing_else() -> None:
    program = (
        "import json; from emulator import application, moto_patches;"
        f"application.prepare('http://localhost:1', {DEFAULT_REGION!r});"
        "print(json.dumps(sorted(moto_patches.done())))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    listed = [(entry.owner, name) for entry, name in REPLACEMENTS] + ADDITIONS
    assert json.loads(result.stdout) == sorted(map(list, listed))


def test_what_is_not_listed_is_refused() -> None:
    class Ours:
        def list_clusters(self) -> None:
            """Stand for an operation that nobody listed."""

    owner = pkgutil.resolve_name("moto.sagemaker.responses:SageMakerResponse")
    before = owner.list_clusters
    with pytest.raises(LookupError, match=r"'list_clusters' of .* is not in the list"):
        put_all(owner, Ours)
    with pytest.raises(LookupError, match="not in the list"):
        put(object(), "create_cluster", before)
    assert owner.list_clusters is before
