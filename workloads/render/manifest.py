"""A Kubernetes manifest as text: YAML with scripts as blocks, the same bytes for the same run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import yaml

from catalog.cluster_info import ClusterInfo
from workloads.spec import Run

MANAGED_BY = "app.kubernetes.io/managed-by"
"""The label of everything that we submit: `kubectl get pods -l app.kubernetes.io/managed-by=trainforge` finds it."""

INSTANCE = "app.kubernetes.io/instance"
"""The label with the name of the run."""

RUN_ID = "RUN_ID"
"""The variable that names the run in its pods: its id, or the job's name where it has none.

So a job that is created again under its name resumes where it stopped."""

NODE_NAME = "TRAINFORGE_NODE_NAME"
"""The variable with the name of a pod's node, which metrics of nodes have; the host name of a pod is its own."""


_BREAK = "\n"
_NO_LIMIT = 2**31 - 1
"""The width of lines by which PyYAML breaks none, the largest that it takes."""
_EXPANDED = re.compile(r"\$\$|\$\([A-Za-z_.-][A-Za-z0-9_.-]*\)")


def _block(data: object, indent: str) -> str:
    """Return plain data as YAML in block style, from behind a key or a dash at `indent` on.

    PyYAML's rules on quotes hold, because it writes the scalars. For the mappings and lists around them, which have
    one form here, it would take half of a manifest's time. Equal parts are written twice: a template that points to
    another is hard to edit.
    """
    if isinstance(data, str):
        return f" {_text(data, indent)}" if "\n" in data else f" {_scalar(data)}"
    if isinstance(data, list | tuple):
        return "".join([f"\n{indent}-{_item(part, indent)}" for part in data]) or " []"
    if isinstance(data, dict | Mapping):
        inner = f"{indent}  "
        return f"\n{inner}{_pairs(data, inner)}" if data else " {}"
    return f" {_scalar(data)}"


def _pairs(data: Mapping[str, object], indent: str) -> str:
    """Return a mapping with an entry, whose first key is where the text is put, the others at `indent`.

    A list is at the indent of its key. A key has up to 1,000 characters, which YAML reads without a mark.
    """
    return f"\n{indent}".join([f"{_scalar(name)}:{_block(value, indent)}" for name, value in data.items()])


def _item(data: object, indent: str) -> str:
    """Return an item of a list, from behind its dash at `indent` on; a mapping or a list begins on the same line."""
    inner = f"{indent}  "
    if data and isinstance(data, dict | Mapping):
        return f" {_pairs(data, inner)}"
    if data and isinstance(data, list | tuple):
        return " " + f"\n{inner}".join([f"-{_item(part, inner)}" for part in data])
    return _block(data, indent)


def _text(text: str, indent: str) -> str:
    """Return text of several lines as a block, at two spaces more than `indent`."""
    if _is_ordinary(text):
        lines = (f"|{'' if text.endswith(_BREAK) else '-'}", *text.removesuffix(_BREAK).split(_BREAK))
    else:
        head, *rest = _written(text).split(_BREAK)
        lines = (head, *(line.removeprefix("  ") for line in rest))
    return lines[0] + "".join(f"\n{indent}  {line}" if line else _BREAK for line in lines[1:])


def _is_ordinary(text: str) -> bool:
    """Return whether YAML takes text as a block as it is: no characters to escape, no spaces that it would lose."""
    return (
        text.isascii()
        and text.replace(_BREAK, "").isprintable()
        and not text[0].isspace()
        and " \n" not in text
        and not text.endswith((" ", "\n\n"))
    )


@lru_cache(maxsize=8192, typed=True)
def _scalar(value: object) -> str:
    """Return a scalar of one line. Values recur in each manifest."""
    return _written(value)


def _written(value: object) -> str:
    """Return a scalar as PyYAML writes it in a list, between two others: text of several lines as a block."""
    written = yaml.dump([value, 0], Dumper=_Dumper, default_flow_style=False, width=_NO_LIMIT)
    return str(written[2 : written.rindex("\n- 0\n")])


class _Dumper(yaml.CSafeDumper):
    """PyYAML's dumper for plain data, with blocks for text of several lines."""


def _represent_text(dumper: _Dumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if _BREAK in text else None)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_multi_representer(str, _represent_text)


def manifest(document: Mapping[str, Any], header: str = "") -> str:
    """Return a document as YAML, with `header` as a comment on top."""
    comment = "".join(f"# {line}\n" for line in header.splitlines())
    return f"{comment}{_pairs(document, '')}\n"


def labels(run: Run, info: ClusterInfo) -> dict[str, str]:
    """Return the labels of a job and its pods, by the names that Kubernetes recommends."""
    return {
        "app.kubernetes.io/name": run.workload.name,
        INSTANCE: run.name,
        "app.kubernetes.io/part-of": info.deployment,
        MANAGED_BY: "trainforge",
    }


def metadata(run: Run, info: ClusterInfo) -> dict[str, Any]:
    """Return the metadata of a job."""
    return {"name": run.name, "namespace": info.namespace, "labels": labels(run, info)}


def verbatim(script: str) -> str:
    """Return a script as a container's command must spell it, so that Kubernetes hands it on unchanged.

    In commands Kubernetes replaces `$(NAME)` by a variable and `$$` by `$`. A script with neither stays as a
    person would write it.
    """
    if not _EXPANDED.search(script):
        return script
    return re.sub(r"\$(?=[$(])", "$$", script)
