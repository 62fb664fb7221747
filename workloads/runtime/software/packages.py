"""The packages of a distribution that are installed below a root: dpkg's by its file, rpm's by the program rpm."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .rooted import read

_STATUS = "var/lib/dpkg/status"
_RPM = ("var/lib/rpm", "usr/lib/sysimage/rpm")
_SECONDS = 60
_FORM = r"%{NAME}\t%{EPOCHNUM}\t%{VERSION}-%{RELEASE}\t%{ARCH}\n"


@dataclass(frozen=True)
class Package:
    """An installed package: its version without epoch, the epoch (empty for none), and its architecture."""

    name: str
    version: str
    epoch: str
    architecture: str


def packages(root: Path) -> list[Package]:
    """Return the installed packages, of each architecture; none where there is no database.

    Raises:
        ValueError: the root of another system has a database of rpm, and the program rpm is absent here or fails.
    """
    text = read(root, _STATUS)
    return list(_rpm(root)) if text is None else list(_dpkg(text))


def package_versions(root: Path) -> dict[str, str]:
    """Return the version of each installed package by its name, without epoch; raises as `packages` does."""
    found: dict[str, str] = {}
    for package in packages(root):
        found.setdefault(package.name, package.version)
    return found


def package_kind(root: Path) -> str:
    """Return the kind of the distribution's packages: deb or rpm."""
    return "rpm" if read(root, _STATUS) is None else "deb"


def _dpkg(text: str) -> Iterator[Package]:
    for paragraph in text.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Version|Architecture): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed") and {"Package", "Version"} <= fields.keys():
            epoch, colon, version = fields["Version"].partition(":")
            if not colon:
                epoch, version = "", fields["Version"]
            yield Package(fields["Package"], version, epoch, fields.get("Architecture", ""))


def _rpm(root: Path) -> Iterator[Package]:
    if not any((root / folder).is_dir() for folder in _RPM):
        return
    program = shutil.which("rpm")
    here = root.resolve() == Path("/")
    if program is None:
        if here:
            return
        raise ValueError(
            f"'{root}' has packages of rpm, and rpm is not on PATH here: install it, or use a machine that has it"
        )
    words = [program, "--root", str(root.resolve()), "-qa", "--queryformat", _FORM]
    try:
        done = subprocess.run(  # noqa: S603 -- the program that is named above
            words, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        if here:
            return
        raise ValueError(f"rpm did not list the packages of '{root}': {error}") from error
    if done.returncode != 0 and not here:
        raise ValueError(f"rpm did not list the packages of '{root}': {done.stderr.strip()[:200]}")
    for line in done.stdout.splitlines():
        fields = line.split("\t")
        if len(fields) == 4:
            name, epoch, version, architecture = fields
            yield Package(name, version, "" if epoch == "0" else epoch, architecture)
