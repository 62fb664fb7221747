"""requirements.lock: in step with requirements.txt, complete, with hashes, and of no registry by name."""

from __future__ import annotations

import re
from importlib import metadata

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.programs import ROOT

PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = {"linux": "Linux", "darwin": "Darwin"}
ENVIRONMENTS = [
    default_environment()
    | {
        "python_version": version,
        "python_full_version": f"{version}.0",
        "sys_platform": platform,
        "platform_system": system,
        "extra": "",
    }
    for version in PYTHONS
    for platform, system in PLATFORMS.items()
]


def written(name: str) -> list[Requirement]:
    """Return the requirements of a file, without comments, options and hashes."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [re.sub(r"(^|\s)#.*|--hash=\S+", "", line).strip() for line in text.splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def pin(requirement: Requirement) -> str:
    """Return the one version that a requirement names."""
    [specifier] = requirement.specifier
    assert specifier.operator == "==", requirement
    return specifier.version


LOCKED = {canonicalize_name(item.name): item for item in written("requirements.lock")}


def test_every_requirement_is_locked_at_its_pin() -> None:
    for requirement in written("requirements.txt"):
        locked = LOCKED.get(canonicalize_name(requirement.name))
        assert locked, f"{requirement.name} is not in requirements.lock; 'make lock' writes it"
        assert pin(locked) == pin(requirement), f"'make lock' writes {requirement.name} anew"
        assert locked.marker is None


def test_nothing_is_locked_that_nothing_needs() -> None:
    needed = {canonicalize_name(requirement.name) for requirement in written("requirements.txt")}
    unseen = list(needed)
    while unseen:
        for text in metadata.requires(unseen.pop()) or ():
            requirement = Requirement(text)
            name = canonicalize_name(requirement.name)
            if name in LOCKED and name not in needed and _applies(requirement):
                needed.add(name)
                unseen.append(name)
    elsewhere = {name for name, item in LOCKED.items() if item.marker and not _applies(item)}
    assert LOCKED.keys() - elsewhere == needed


@pytest.mark.parametrize("name", sorted(LOCKED))
def test_what_a_locked_package_needs_is_locked_too(name: str) -> None:
    """By the metadata of the installed package, on every Python and platform that we support."""
    if not _applies(LOCKED[name]):
        return
    assert metadata.version(name) == pin(LOCKED[name]), "this environment is not that of the lock; make setup"
    for text in metadata.requires(name) or ():
        requirement = Requirement(text)
        if not _applies(requirement):
            continue
        locked = LOCKED.get(canonicalize_name(requirement.name))
        assert locked, f"{name} needs {requirement}"
        assert requirement.specifier.contains(pin(locked), prereleases=True), f"{name} needs {requirement}"


def test_every_file_has_its_hash_and_no_registry_is_named() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    for entry in re.split(r"\n(?=[a-z])", text)[1:]:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry
    assert "://" not in text
    assert "index" not in text


def _applies(requirement: Requirement) -> bool:
    """Return whether a requirement holds on some Python and platform that we support."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate(environment) for environment in ENVIRONMENTS)
