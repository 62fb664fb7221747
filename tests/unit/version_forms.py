"""Forms of versions in sources: those that move by themselves, and those that a file has of its own."""

from __future__ import annotations

import re
from pathlib import PurePath

_BRANCH = r"(?:main|master|develop|trunk|HEAD)"
_MOVING = rf"(?:latest|nightly|edge|rolling|{_BRANCH})"

_FLOATING = re.compile(
    "|".join(
        (
            # A tag of an image.
            r"[\w/.}-]:(?:latest|nightly|edge|rolling|stable)\b",
            # A value of a playbook, a chart, a manifest, a variable.
            rf"(?:tag|[vV]ersion|state|ref|branch|[rR]evision)[\"']?\s*[:=]\s*[\"']?{_MOVING}\b",
            # A release of GitHub, a list of another site, a branch by its URL. Instances' metadata has a path 'latest'.
            r"releases/latest|stable\.txt",
            rf"https?://(?!169\.254\.|docs\.)\S*/{_MOVING}(?:[/\"'\s]|$)",
            rf"(?:git\+|github(?:usercontent)?\.com/)\S*[@/]{_BRANCH}\b",
            # A branch of git, and a clone of none.
            rf"--branch[ =]{_BRANCH}\b|\bgit (?:\S+ )*?(?:checkout|switch|clone|pull|fetch)\b.*[ /]{_BRANCH}\b",
            r"\bgit clone (?!.*--branch)",
            r"(?:--branch[ =]|\bgit clone .*-b )(?![\"']?v?[\d${])",
            r"git\+\w+://(?!\S*@(?:[0-9a-f]{40}|[${]))",
            # An archive of the newest release, a branch as the tag of an image.
            r"[-_]latest\.\w",
            rf"(?:[\w-]+\.[a-z]+/[\w./-]+|^FROM \S+|image[\"']?:\s*[\"']?[\w./-]+):(?:{_BRANCH}|dev)\b",
            # An image without a tag, a chart without a version.
            r"^FROM (?!\$)[^\s:@]+(?:\s|$)",
            r"docker\.io/\S+/[\w-]+$",
            r"\bhelm (?:install|upgrade)\b(?!.*--version)",
            r"\bdocker pull (?!\S*[:@$])\S",
            # A package of Python without one; a line that continues names its packages below.
            r"\bpip3? install (?!.*(?:==|--requirement|-r |--editable|-e |[$/{]|\.whl|\\$))",
        )
    )
)

_UNTAGGED = re.compile(r"^\s*(?:-\s+)?[\"']?image[\"']?:\s*[\"']?[a-z0-9][\w.-]*(?:/[\w.-]+)*[\"']?,?\s*$")
"""An image without a tag in YAML or JSON; code has names of variables in this form."""

_WORD = re.compile(r"^\s*(?:-\s+)?version:\s*[\"']?[a-z](?!\d)[\w./-]*[\"']?\s*$")
"""A branch in a playbook: a version that is a word; code has types in this form."""

_LITERAL = re.compile(
    "|".join(
        (
            # Three numbers. Four are an address.
            r"(?<![\d.])v?\d+\.\d+\.\d+\b(?!\.\d)(?!/\d)",
            # A requirement of pip, of any kind, and one of apt or dnf.
            r"\w(?:\[[\w,]+\])?(?:[=~!<>]=|===)\s*v?\d",
            r"\b[a-z][a-z0-9.+-]+=v?\d+[.:~]\d",
            # A tag of an image: with a registry, or of two numbers and more.
            r":v?\d+\.\d[\w.-]*\b|@sha256:|[\w-]+\.[a-z]+/[\w./-]+:v?\d|^FROM \S+:|\bimage[\"']?:\s*\S+:v?\d",
            # A value, and a part of a URL.
            r"(?i:version|tag|release|revision|\bref)[\"']?\s*[:=]\s*[\"']?[<>=~^]*\s*v?\d+\.\d",
            r"/v?\d+\.\d+(?:[/\"'\s]|$)",
            # An archive and a package of dnf, of two numbers.
            r"[-_]v?\d+\.\d+\.(?:tar|tgz|txz|zip|deb|rpm|run|whl|sh)\b|\bname: [\"']?[a-z][\w+.-]*-\d+\.\d",
        )
    )
)

_CODE = re.compile(
    "|".join(
        (
            r"[\w.-]+\.[a-z]+/[\w./-]+:v?\d[\w.-]*|@sha256:[0-9a-f]",
            r"""[\"'][a-z][a-z0-9-]*:v?\d+\.\d[\w.-]*[\"']""",
            r"""[\"'][a-z][\w-]*(?:\[[\w,]+\])?(?:[=~!<>]=)\d""",
            r"""https?://\S*/v?\d+\.\d+[/\"']""",
        )
    )
)
"""In code an image with a tag or digest, with or without a registry, a requirement of pip, and a part of a URL.
test_layout.py looks for versions of three numbers."""

RENDERED = (
    "machine_images/group_vars",
    "machine_images/packer",
    "workloads/runtime/software/lock.json",
    "workloads/runtime/health",
)
"""Files that are written from the catalog; tests hold them to it."""

RECORDED = (
    "machine_images/requirements.lock",
    "workloads/megatron_lm/recorded_options.json",
    "workloads/nemo_launcher/recorded_options.json",
    "workloads/nemo_run/recorded_options.json",
    "workloads/torchtitan/recorded_options.json",
    "workloads/bionemo_esm1nv/esm1nv_launch/options.json",
    "workloads/neuronx_distributed/nxd_launch/options.json",
    "workloads/torchtitan/recorded_options.json",
)
"""Files that tools write, with the version of what they recorded; tests compare that with the catalog."""

ALLOWED = {
    # The parent image has the release, which its repositories are of.
    ("machine_images/roles/packages/tasks/main.yml", "state: latest # noqa package-latest"),
    # The chart is our own, and its version never changes: Helm asks for one.
    ("constructs/trainforge/eks/objects/chart/Chart.yaml", "version: 1.0.0"),
    # test_software_lock.py compares it with the oldest version of the catalog.
    ("constructs/trainforge/eks/objects/chart/Chart.yaml", 'kubeVersion: ">=1.32.0-0"'),
}
"""Lines that are right, by the file."""

_TEXT = {".md", ".svg", ".png"}
_PINNED = {".txt"}
"""Requirements of workloads: tests compare those of images with the pins, and those of this machine are exact."""


def floating(path: PurePath, text: str) -> list[str]:
    """Return the lines of a file, by its path in the repository, with a version that moves."""
    if path.suffix in _TEXT:
        return []
    found = _lines(path, text, _FLOATING)
    if path.suffix != ".py":
        found += [*_lines(path, text, _UNTAGGED), *_lines(path, text, _WORD)]
    # A line of several forms is one.
    return list(dict.fromkeys(found))


def literals(path: PurePath, text: str) -> list[str]:
    """Return the lines of a file, by its path in the repository, with a version that the catalog should have."""
    name = path.as_posix()
    if path.suffix in _TEXT | _PINNED or "manifests" in path.parts or name.startswith(RENDERED):
        return []
    if name in RECORDED:
        return []
    return _lines(path, text, _CODE if path.suffix == ".py" else _LITERAL)


def _lines(path: PurePath, text: str, form: re.Pattern[str]) -> list[str]:
    name = path.as_posix()
    return [
        f"{name}:{number}: {line.strip()}"
        for number, line in enumerate(text.splitlines(), start=1)
        if not line.lstrip().startswith("#") and form.search(line) and (name, line.strip()) not in ALLOWED
    ]
