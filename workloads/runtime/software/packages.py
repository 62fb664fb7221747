"""The packages of a distribution that are installed below a root: dpkg's by its file, rpm's by the program rpm."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from .rooted import inside

_STATUS = "var/lib/dpkg/status"
_RPM = ("var/lib/rpm", "usr/lib/sysimage/rpm")
_SECONDS = 60


def package_versions(root: Path) -> dict[str, str]:
    """Return the version of each installed package by its name, without epoch; empty where no database can be read."""
    try:
        text = inside(root, _STATUS).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return _rpm(root)
    found = {}
    for paragraph in text.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Version): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed") and {"Package", "Version"} <= fields.keys():
            found[fields["Package"]] = re.sub(r"^\d+:", "", fields["Version"])
    return found


def package_kind(root: Path) -> str:
    """Return the kind of the distribution's packages: deb or rpm."""
    return "deb" if (root / _STATUS).is_file() else "rpm"


def _rpm(root: Path) -> dict[str, str]:
    program = shutil.which("rpm")
    if program is None or not any((root / folder).is_dir() for folder in _RPM):
        return {}
    words = [
        program,
        "--root",
        str(root.resolve()),
        "-qa",
        "--queryformat",
        r"%{NAME}\t%{VERSION}-%{RELEASE}\n",
    ]
    try:
        done = subprocess.run(  # noqa: S603 -- the program that is named above
            words, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)
