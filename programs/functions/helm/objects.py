"""Objects of a release on the cluster: those that exist, those that are helm's, and their deletion."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from .tools import Tools

Found = Mapping[str, Any]
"""An object as the cluster returns it."""

_AGGREGATION = "clusterrole-aggregation-controller"


def find(tools: Tools, manifest: str) -> list[Found]:
    """Return the objects of a manifest that exist; those whose kind the cluster does not know are absent.

    An object without a namespace is looked for in the one of the kubeconfig.

    Raises:
        ToolError: the cluster refuses.
    """
    if not manifest.strip():
        return []
    printed = tools.kubectl(
        *("get", "--filename", "-", "--output", "json", "--ignore-not-found", "--show-managed-fields"),
        given=manifest,
        passed_over="no matches for kind",
    )
    if not printed.strip():
        return []
    answer = json.loads(printed)
    return list(answer["items"]) if answer["kind"] == "List" else [answer]


def find_again(tools: Tools, found: Iterable[Found]) -> list[Found]:
    """Return those objects that still exist, or exist again under their names.

    Raises:
        ToolError: the cluster refuses.
    """
    return find(tools, _list(found))


def delete(tools: Tools, found: Iterable[Found]) -> None:
    """Begin the deletion of objects; those that are gone are no error.

    Raises:
        ToolError: the cluster refuses.
    """
    objects = list(found)
    if objects:
        tools.kubectl(
            *("delete", "--filename", "-", "--ignore-not-found", "--wait=false"),
            given=_list(objects),
            passed_over="no matches for kind",
        )


def end_aggregation(tools: Tools, found: Iterable[Found]) -> None:
    """Take the rules of aggregation from those of the objects that are aggregated ClusterRoles; their rights stay.

    The controller of such roles could otherwise create one again at any time after its deletion, see `is_remade_role`.

    Raises:
        ToolError: the cluster refuses.
    """
    for one in found:
        if one["kind"] == "ClusterRole" and one.get("aggregationRule"):
            tools.kubectl(
                *("patch", "clusterrole", one["metadata"]["name"], "--type", "merge"),
                *("--patch", '{"aggregationRule":null}'),
                passed_over="not found",
            )


def belongs(one: Found, release: str, namespace: str) -> bool:
    """Tell whether an object is a release's, and goes with it."""
    notes: Mapping[str, str] = one["metadata"].get("annotations", {})
    return (
        notes.get("meta.helm.sh/release-name") == release
        and notes.get("meta.helm.sh/release-namespace") == namespace
        and notes.get("helm.sh/resource-policy") != "keep"
    )


def is_remade_role(one: Found) -> bool:
    """Tell whether an object is a ClusterRole that was deleted and that Kubernetes created again.

    The controller of aggregated roles applies the rules of a role on the server's side, and applying creates what
    does not exist: where the roles that it collects from are deleted at the same time, as `helm uninstall` deletes
    them, it comes after the deletion. Such a role has no rule of aggregation, no annotation and no other manager, and
    helm does not take it over.
    """
    metadata = one["metadata"]
    managers = {field["manager"] for field in metadata.get("managedFields", ())}
    return one["kind"] == "ClusterRole" and managers == {_AGGREGATION} and not metadata.get("annotations")


def identity(one: Found) -> str:
    """Return an object's kind and name, for messages."""
    where = one["metadata"].get("namespace")
    return f"{one['kind']} '{where + '/' if where else ''}{one['metadata']['name']}'"


def _list(found: Iterable[Found]) -> str:
    """Return a manifest with the names of objects and nothing else."""
    items = [
        {
            "apiVersion": one["apiVersion"],
            "kind": one["kind"],
            "metadata": {
                key: one["metadata"][key] for key in ("name", "namespace") if one["metadata"].get(key)
            },
        }
        for one in found
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items}) if items else ""
