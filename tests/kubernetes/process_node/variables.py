"""Variables of a container: given values, and those that come from the pod, a ConfigMap or a Secret."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

from tests.kubernetes.plane.api import Api, Document, Refused

_NOT_FOUND = 404


class Variables:
    """The source of the variables of a pod's containers. `fields` are those of the pod that only its node has."""

    def __init__(self, api: Api, pod: Document, fields: Mapping[str, str]) -> None:
        self._api = api
        self._metadata: Document = pod["metadata"]
        known = {f"metadata.{name}": self._metadata[name] for name in ("name", "namespace", "uid")}
        account = pod["spec"].get("serviceAccountName", "default")
        self._fields = {**known, "spec.serviceAccountName": account, **fields}

    def of(self, container: Document, image: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of a container of an image that has some.

        Raises:
            LookupError: a source lacks what is asked of it.
            ValueError: a kind of source that no process node knows.
        """
        found = dict(image)
        for source in container.get("envFrom", ()):
            found |= self._all(source)
        for variable in container.get("env", ()):
            source = variable.get("valueFrom")
            value = self._value(source) if source else expand(variable.get("value", ""), found)
            if value is not None:
                found[variable["name"]] = value
        return found

    def data(self, kind: str, name: str, *, optional: bool = False) -> dict[str, bytes]:
        """Return the data of a ConfigMap or Secret of the pod's namespace; nothing where an optional one is absent.

        Raises:
            LookupError: it is absent.
        """
        try:
            found = self._api.get("v1", kind, name, namespace=self._metadata["namespace"])
        except Refused as refusal:
            if refusal.code != _NOT_FOUND:
                raise
            if optional:
                return {}
            raise LookupError(f'{kind.lower()} "{name}" not found') from None
        data = found.get("data") or {}
        if kind == "Secret":
            return {key: base64.b64decode(value) for key, value in data.items()}
        return {key: str(value).encode() for key, value in data.items()}

    def field(self, path: str) -> str:
        """Return a field of the pod: the downward API.

        Raises:
            ValueError: no process node knows the field.
        """
        if match := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
            return str((self._metadata.get(match[1]) or {}).get(match[2], ""))
        if path in ("metadata.labels", "metadata.annotations"):
            chosen = self._metadata.get(path.partition(".")[2]) or {}
            return "".join(f'{key}="{value}"\n' for key, value in sorted(chosen.items()))
        if path not in self._fields:
            raise ValueError(f"a process node does not know the field {path}")
        return str(self._fields[path])

    def _all(self, source: Document) -> dict[str, str]:
        for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if reference := source.get(key):
                data = self.data(kind, reference["name"], optional=reference.get("optional", False))
                return {source.get("prefix", "") + name: value.decode() for name, value in data.items()}
        raise ValueError(f"a process node does not know variables from {', '.join(source)}")

    def _value(self, source: Document) -> str | None:
        """Return the value of a variable's source; None where an optional one is absent."""
        if reference := source.get("fieldRef"):
            return self.field(reference["fieldPath"])
        for key, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            if reference := source.get(key):
                optional = bool(reference.get("optional"))
                value = self.data(kind, reference["name"], optional=optional).get(reference["key"])
                if value is None and not optional:
                    raise LookupError(f'{kind.lower()} "{reference["name"]}" has no key "{reference["key"]}"')
                return None if value is None else value.decode()
        raise ValueError(f"a process node does not know a variable from {', '.join(source)}")


def expand(text: str, variables: Mapping[str, Any]) -> str:
    """Expand $(NAME) as Kubernetes does: what is not known stays, and $$ is a $."""

    def replaced(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else str(variables.get(match[1], match[0]))

    return re.sub(r"\$\$|\$\(([A-Za-z_][\w.-]*)\)", replaced, text)
