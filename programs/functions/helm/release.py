"""A Helm release: installed, brought to other values, or removed. The options are helm 4's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import objects
from .tools import ToolError, Tools

_HISTORY = 3
_SUCCEEDED = ("deployed", "superseded")
_NO_RELEASE = "release: not found"
_OWNER = "trainforge-resource"
"""The label of helm's records that names the stack's resource."""


@dataclass(frozen=True, slots=True)
class _Revision:
    number: int
    status: str


class Release:
    """One release of a chart in a namespace, which belongs to the resource of a stack that `owner` names.

    CloudFormation creates a resource under another logical id before it deletes the one under the old id: the creation
    must not take the release over, and the deletion of a resource must not uninstall another's release.
    """

    def __init__(self, name: str, namespace: str, tools: Tools, owner: str) -> None:
        self._name, self._namespace, self._tools, self._owner = name, namespace, tools, owner

    def check_owner(self) -> None:
        """Check that no other resource has installed the release.

        Raises:
            ToolError: another owner has the release.
        """
        history = self._history()
        if any(one.status == "deployed" for one in history) and not self._is_own():
            raise ToolError(
                f"the release '{self._name}' in the namespace '{self._namespace}' was not installed by this resource "
                "of the stack; nothing was changed: uninstall it ('helm uninstall', which deletes its objects), "
                "deploy again"
            )

    def apply(self, chart: Path, values: Mapping[str, Any], *, wait: bool) -> None:
        """Install the chart, or bring the release to it, and create its namespace.

        With `wait` it ends when the pods are ready, and after a failure the release is what it was before.

        Raises:
            ToolError: the cluster refuses, or pods are not ready in time.
        """
        exists = self._recover()
        file = chart.parent / "values.json"
        file.write_text(json.dumps(values), encoding="utf-8")
        given = (self._name, str(chart), "--namespace", self._namespace, "--values", str(file))
        if not exists:
            self._clear_remade_roles(self._tools.helm("template", *given))
        self._tools.helm(
            *("upgrade", *given, "--install", "--create-namespace", "--history-max", str(_HISTORY)),
            *("--labels", f"{_OWNER}={self._owner}"),
            *(("--rollback-on-failure", "--wait") if wait else ()),
            # helm applies on the server's side, where a field that another controller writes is a conflict: the rules
            # of aggregated ClusterRoles, for instance, that some charts declare as empty. What the chart declares is
            # written over; what it does not declare stays what others made it. Without the server, helm would also
            # remove what others wrote into a field that the chart no longer has.
            *("--server-side=true", "--force-conflicts"),
            timed=True,
        )

    def remove(self) -> None:
        """Uninstall it and wait until its objects are gone; one that never existed is removed already.

        One that is another resource's stays.

        Raises:
            ToolError: the cluster refuses, or an object is still there when the time is over.
        """
        history = self._history()
        if history and self._is_own():
            self._uninstall(history)

    def _recover(self) -> bool:
        """Undo what an earlier call left unfinished, and return whether there is a release then.

        helm refuses to change a release with an operation in progress, and its rollback fails where the revision
        lacks an object of the one before that nothing has deleted yet ("original object ... not found"). An upgrade
        works from any state of the objects, provided that the newest revision is one that was completed: so
        the records of later ones go, and with them the objects that only they have.
        """
        history = self._history()
        if not history:
            return False
        completed = [one for one in history if one.status in _SUCCEEDED]
        if not completed or any(one.status.startswith("uninstall") for one in history):
            self._uninstall(history)
            return False
        base = next((one for one in reversed(completed) if one.status == "deployed"), completed[-1])
        later = [one for one in history if one.number > base.number]
        if later:
            kept = {one["metadata"]["uid"] for one in objects.find(self._tools, self._manifest(base))}
            objects.delete(
                self._tools,
                (
                    one
                    for revision in later
                    for one in objects.find(self._tools, self._manifest(revision))
                    if one["metadata"]["uid"] not in kept
                    and objects.belongs(one, self._name, self._namespace)
                ),
            )
            for revision in later:
                self._forget(revision)
        return True

    def _uninstall(self, history: Sequence[_Revision]) -> None:
        """Uninstall the release, and forget it when everything of it is gone.

        helm's own wait would wait for ClusterRoles that Kubernetes creates again, until the time is over.
        """
        found = {
            one["metadata"]["uid"]: one
            for revision in history
            for one in objects.find(self._tools, self._manifest(revision))
            if objects.belongs(one, self._name, self._namespace) or objects.is_remade_role(one)
        }
        release = (self._name, "--namespace", self._namespace)
        objects.end_aggregation(self._tools, found.values())
        if not any(one.status == "uninstalled" for one in history):
            self._tools.helm("uninstall", *release, "--keep-history", timed=True)
        self._await_gone(list(found.values()))
        self._tools.helm("uninstall", *release, "--ignore-not-found", timed=True)

    def _await_gone(self, found: list[objects.Found]) -> None:
        # All of them each time: a role that is gone may come back while others are still being deleted.
        while left := [
            one
            for one in objects.find_again(self._tools, found)
            if objects.belongs(one, self._name, self._namespace) or objects.is_remade_role(one)
        ]:
            objects.delete(self._tools, (one for one in left if "deletionTimestamp" not in one["metadata"]))
            try:
                self._tools.pause()
            except ToolError as error:
                names = ", ".join(objects.identity(one) for one in left[:5])
                raise ToolError(f"{error}; {len(left)} objects are still being deleted: {names}") from None

    def _clear_remade_roles(self, manifest: str) -> None:
        """Delete ClusterRoles of the chart that an earlier deletion left behind; helm would not take them over."""
        found = objects.find(self._tools, manifest)
        objects.delete(self._tools, (one for one in found if objects.is_remade_role(one)))

    def _is_own(self) -> bool:
        printed = self._tools.helm(
            *("get", "metadata", self._name, "--namespace", self._namespace, "--output", "json"), again=True
        )
        labels = json.loads(printed).get("labels") or {}
        return bool(labels.get(_OWNER) == self._owner)

    def _history(self) -> list[_Revision]:
        """Return the revisions, the oldest first; none where there is no release."""
        try:
            printed = self._tools.helm(
                *("history", self._name, "--namespace", self._namespace, "--output", "json"), again=True
            )
        except ToolError as error:
            if _NO_RELEASE in str(error):
                return []
            raise
        return [_Revision(int(one["revision"]), str(one["status"])) for one in json.loads(printed)]

    def _manifest(self, revision: _Revision) -> str:
        return self._tools.helm(
            *("get", "manifest", self._name, "--namespace", self._namespace),
            *("--revision", str(revision.number)),
            again=True,
        )

    def _forget(self, revision: _Revision) -> None:
        name = f"sh.helm.release.v1.{self._name}.v{revision.number}"
        self._tools.kubectl("delete", "secret", name, "--namespace", self._namespace, "--ignore-not-found")
