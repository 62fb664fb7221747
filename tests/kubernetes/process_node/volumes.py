"""Volumes of a pod: the folder of this machine that a container sees for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.kubernetes.plane.api import Document
from tests.kubernetes.process_node.variables import Variables

_KINDS = {"configMap": ("ConfigMap", "name"), "secret": ("Secret", "secretName")}


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume: its folder, or the size of a file system in memory (as mount takes it) that each container gets."""

    path: Path
    memory: str = ""


class Volumes:
    """The volumes of a pod, in `folder`. `claim` gives the folder of a claim by its name."""

    def __init__(
        self, pod: Document, folder: Path, variables: Variables, claim: Callable[[str], Path]
    ) -> None:
        self._declared = {one["name"]: one for one in pod["spec"].get("volumes", ())}
        self._folder = folder
        self._variables = variables
        self._claim = claim
        self._made: dict[str, Volume] = {}

    def of(self, name: str) -> Volume:
        """Return a volume, filled when it is first asked for.

        Raises:
            LookupError: its source is absent.
            ValueError: a kind of volume that no process node knows.
        """
        if name not in self._made:
            self._made[name] = self._make(self._declared[name])
        return self._made[name]

    def _make(self, volume: Document) -> Volume:
        if claim := volume.get("persistentVolumeClaim"):
            return Volume(self._claim(claim["claimName"]))
        if host := volume.get("hostPath"):
            return Volume(Path(host["path"]))
        path = self._folder / volume["name"]
        path.mkdir(parents=True, exist_ok=True)
        if "emptyDir" in volume:
            given = volume["emptyDir"] or {}
            in_memory = given.get("medium") == "Memory"
            return Volume(path, _mount_size(given.get("sizeLimit", "1Gi")) if in_memory else "")
        sources = (volume.get("projected") or {}).get("sources")
        for source in [volume] if sources is None else sources:
            for name, content, mode in self._files(source):
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                (path / name).write_bytes(content)
                (path / name).chmod(mode)
        return Volume(path)

    def _files(self, source: Document) -> Iterator[tuple[str, bytes, int]]:
        """Yield path, content and mode of the files of a configMap, secret or downwardAPI."""
        if "serviceAccountToken" in source:
            # Nothing in a pod reaches the API server that would take it.
            return
        for key, (kind, named) in _KINDS.items():
            if given := source.get(key):
                name = given.get(named) or given["name"]
                data = self._variables.data(kind, name, optional=given.get("optional", False))
                every = [{"key": one, "path": one} for one in data]
                for item in given.get("items", every):
                    if item["key"] not in data:
                        raise LookupError(f'{kind.lower()} "{name}" has no key "{item["key"]}"')
                    mode = item.get("mode", given.get("defaultMode", 0o644))
                    yield item["path"], data[item["key"]], mode
                return
        if given := source.get("downwardAPI"):
            for item in given.get("items", ()):
                mode = item.get("mode", given.get("defaultMode", 0o644))
                yield item["path"], self._variables.field(item["fieldRef"]["fieldPath"]).encode(), mode
            return
        raise ValueError(f"a process node does not know a volume of {', '.join(set(source) - {'name'})}")


def _mount_size(quantity: str) -> str:
    """Return a quantity as mount's option `size` takes it."""
    return quantity.replace("Ki", "k").replace("Mi", "m").replace("Gi", "g")
