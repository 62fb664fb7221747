"""Rules on a HyperPod cluster: its pools, groups, partitions, accounting, people and scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from settings.deployment import Settings
from settings.rules import check
from tests.unit.configuration import KEY, SECRET, changed, found

CPU = {"instance_type": "m5.large", "nodes": 1}
USERS = "hyperpod.node_setup.users"
DATABASE = {"endpoint": "db.example.com", "secret_arn": SECRET}
PEM = (
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU\n-----END OPENSSH PRIVATE KEY-----"
)


def _user(**values: Any) -> dict[str, Any]:
    return {USERS: [{"name": "ana", "uid": 2001} | values]}


def _many(count: int) -> dict[str, Any]:
    names = [f"p{number}" for number in range(count)]
    return {"pools": dict.fromkeys(names, CPU), "hyperpod.pools": names}


CASES: list[tuple[dict[str, Any], set[tuple[str, str]]]] = [
    # pools and groups
    (
        {"hyperpod.pools": ["gpo"]},
        {("pool-unknown", "hyperpod.pools.0"), ("pool-unused", "pools.gpu")},
    ),
    ({"hyperpod.pools": ["gpu", "gpu"]}, {("pool-repeated", "hyperpod.pools.1")}),
    ({"hyperpod": None}, {("pool-unused", "pools.gpu")}),
    (
        {"pools.login": CPU, "pools.controller": CPU, "hyperpod.pools": ["gpu", "login", "controller"]},
        {("hyperpod-group-name", "hyperpod.pools.1"), ("hyperpod-group-name", "hyperpod.pools.2")},
    ),
    (_many(98), set()),
    (_many(99), {("hyperpod-group-count", "hyperpod.pools")}),
    (_many(99) | {"hyperpod.login": None}, set()),
    # partitions
    ({"hyperpod.partitions": {"gpu": "Train-1"}}, set()),
    *(
        ({"hyperpod.partitions": {"gpu": name}}, {("partition-name", "hyperpod.partitions.gpu")})
        for name in ("", "a_b", "-a", "a-", "default", "DEFAULT", "x" * 1025)
    ),
    ({"pools": {"default": CPU}, "hyperpod.pools": ["default"]}, {("partition-name", "hyperpod.pools.0")}),
    (
        {
            "pools": {"default": CPU},
            "hyperpod.pools": ["default"],
            "hyperpod.partitions": {"default": "cpu"},
        },
        set(),
    ),
    ({"pools": {"defaults": CPU}, "hyperpod.pools": ["defaults"]}, set()),
    ({"hyperpod.partitions": {"cpu": "train"}}, {("partition-pool", "hyperpod.partitions.cpu")}),
    # accounting
    ({"hyperpod.accounting": DATABASE | {"name": "slurm_1$"}}, set()),
    (
        {"hyperpod.accounting": DATABASE, "hyperpod.continuous_provisioning": False},
        {("accounting-provisioning", "hyperpod.continuous_provisioning")},
    ),
    ({"hyperpod.continuous_provisioning": False}, set()),
    (
        {"hyperpod.accounting": {**DATABASE, "secret_arn": SECRET.removesuffix("-AbCdEf")}},
        {("accounting-database", "hyperpod.accounting.secret_arn")},
    ),
    (
        {"hyperpod.accounting": {"endpoint": "db:3306", "secret_arn": "slurm-db", "name": "a-b"}},
        {("accounting-database", f"hyperpod.accounting.{key}") for key in ("endpoint", "secret_arn", "name")},
    ),
    # people
    (_user(ssh_public_key=KEY), set()),
    (_user(name="Ana"), {("user-name", f"{USERS}.0.name")}),
    (_user(name="root"), {("user-name", f"{USERS}.0.name")}),
    (_user(name="a" * 33), {("user-name", f"{USERS}.0.name")}),
    (
        {USERS: [{"name": "ana", "uid": 2001}, {"name": "bob", "uid": 2001}, {"name": "ana", "uid": 2002}]},
        {("user-duplicate", f"{USERS}.1.uid"), ("user-duplicate", f"{USERS}.2.name")},
    ),
    (_user(ssh_public_key=PEM), {("ssh-private-key", f"{USERS}.0.ssh_public_key")}),
    *(
        (_user(ssh_public_key=key), {("ssh-public-key", f"{USERS}.0.ssh_public_key")})
        for key in (
            "",
            "ssh-ed25519",
            "ssh-dss AAAA x",
            "ssh-ed25519 !!!!",
            KEY.replace("ed25519", "rsa", 1),
            KEY.replace("AAAAC3", "AAAAD3"),
        )
    ),
    ({"notifications.emails": ["ana+ml@example.com", "bob@mail.example.org"]}, set()),
    *(
        ({"notifications.emails": [address]}, {("email-form", "notifications.emails.0")})
        for address in ("", "ana", "ana@", "@example.com", "a b@example.com", "ana@example", "a@-x.com")
    ),
    (
        {"notifications.emails": ["ana@example.com", "Ana@example.com"]},
        {("email-form", "notifications.emails.1")},
    ),
    ({"hyperpod.node_setup.packages": ["htop", "libfoo2.0-dev", "jq=1.6-2.1ubuntu3"]}, set()),
    *(
        ({"hyperpod.node_setup.packages": [name]}, {("package-name", "hyperpod.node_setup.packages.0")})
        for name in ("", "Htop", "htop; reboot", "-y", "x")
    ),
    # scripts
    (
        {"hyperpod.node_setup": {}, "hyperpod.lifecycle_scripts": {"directory": "scripts"}},
        {("scripts-exclusive", "hyperpod.lifecycle_scripts")},
    ),
    *(
        (
            {"hyperpod.lifecycle_scripts": {"directory": "scripts", "entry": entry}},
            {("lifecycle-entry", "hyperpod.lifecycle_scripts.entry")},
        )
        for entry in ("", "../on_create.sh", "/on_create.sh", "x" * 129)
    ),
    (
        {"hyperpod.lifecycle_scripts": {"directory": "/scripts"}},
        {("lifecycle-directory", "hyperpod.lifecycle_scripts.directory")},
    ),
    ({"hyperpod.lifecycle_scripts": {"directory": "../scripts"}}, set()),
]


@pytest.mark.parametrize(("changes", "expected"), CASES, ids=lambda value: str(value)[:70])
def test_hyperpod_rules(changes: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    assert found(changes) == expected


def test_a_private_key_is_never_printed() -> None:
    (finding,) = check(Settings.model_validate(changed(_user(ssh_public_key=PEM))))
    assert "b3BlbnNzaC1rZXk" not in str(finding) + finding.value
    assert "treat it as lost" in finding.message


def test_lifecycle_scripts(tmp_path: Path) -> None:
    folder = {"hyperpod.lifecycle_scripts": {"directory": "scripts"}}
    missing = {("lifecycle-directory", "hyperpod.lifecycle_scripts.directory")}
    assert found(folder, tmp_path) == missing
    assert found(folder) == set(), "without a folder to start from there is nothing to look at"

    scripts = tmp_path / "scripts"
    scripts.mkdir()
    assert found(folder, tmp_path) == {("lifecycle-directory", "hyperpod.lifecycle_scripts.entry")}
    (scripts / "on_create.sh").write_text("#!/bin/sh\n")
    assert found(folder, tmp_path) == set()

    with (scripts / "model.bin").open("wb") as file:
        file.truncate(51 << 20)
    assert found(folder, tmp_path) == missing
    (scripts / "model.bin").unlink()
    for number in range(1000):
        (scripts / str(number)).touch()
    assert found(folder, tmp_path) == missing


def test_an_absolute_directory_is_refused_even_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "on_create.sh").touch()
    folder = {"hyperpod.lifecycle_scripts": {"directory": str(tmp_path)}}
    assert found(folder, tmp_path) == {("lifecycle-directory", "hyperpod.lifecycle_scripts.directory")}
    assert found({"hyperpod.lifecycle_scripts": {"directory": "."}}, tmp_path) == set()


def test_a_directory_name_that_no_system_takes(tmp_path: Path) -> None:
    folder = {"hyperpod.lifecycle_scripts": {"directory": "a\0b"}}
    assert found(folder, tmp_path) == {("lifecycle-directory", "hyperpod.lifecycle_scripts.directory")}
