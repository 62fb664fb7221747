"""Sets of objects: created as they are, deleted to the last one."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator

from tests.kubernetes.plane.api import Api, Document, Refused
from tests.kubernetes.plane.operators import in_helm_order

SECONDS = 120.0


def create_all(
    api: Api, documents: Iterable[Document], created: list[Document], *, namespace: str = ""
) -> None:
    """Create objects in Helm's order and append each to `created`; each must be new."""
    for one in in_helm_order(documents):
        api.create(one, namespace=namespace)
        created.append(_placed(one, namespace))
        if one["kind"] == "CustomResourceDefinition":
            api.await_definition(one)


@contextlib.contextmanager
def all_deleted(api: Api) -> Iterator[list[Document]]:
    """Yield a list of created objects, and delete them at the end: a test that fails leaves none to the next."""
    created: list[Document] = []
    try:
        yield created
    finally:
        delete_all(api, created)


def _placed(document: Document, namespace: str) -> Document:
    """Return an object with the namespace of its release, where it names none; kinds without one do not mind."""
    placed = copy.deepcopy(document)
    if namespace:
        placed["metadata"].setdefault("namespace", namespace)
    return placed


def delete_all(api: Api, documents: Iterable[Document]) -> None:
    """Delete objects in the opposite order and wait until none is left."""
    ordered = list(reversed(list(documents)))
    for one in ordered:
        where = one["metadata"].get("namespace", "")
        api.delete(one["apiVersion"], one["kind"], one["metadata"]["name"], namespace=where)
    try:
        api.await_("the objects are gone", lambda: not left(api, ordered), seconds=SECONDS)
    except TimeoutError as error:
        raise TimeoutError(f"{error}; left are {', '.join(left(api, ordered))}") from None


def left(api: Api, documents: Iterable[Document]) -> list[str]:
    """Return which of these objects the server has."""
    return [f"{one['kind']} {one['metadata']['name']}" for one in documents if _exists(api, one)]


def _exists(api: Api, one: Document) -> bool:
    metadata = one["metadata"]
    try:
        found = api.find(
            one["apiVersion"], one["kind"], metadata["name"], namespace=metadata.get("namespace", "")
        )
    except Refused as refusal:
        # Its definition is gone, and with it every object of the kind.
        if refusal.code == 404:
            return False
        raise
    return found is not None
