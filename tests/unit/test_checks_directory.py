"""Rules on the accounting database and on the directory with its people."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.configuration import GONE, KEY, SECRET, found

ANA = {"name": "ana", "uid": 2001}
BO = {"name": "bo", "uid": 2002}


def directory(**values: Any) -> dict[str, Any]:
    return {"directory": {"users": [ANA, BO]} | values}


def group(**values: Any) -> dict[str, Any]:
    return directory(groups=[{"name": "team", "gid": 3000, "members": ["ana"]} | values])


CASES: list[tuple[dict[str, Any], set[tuple[str, str]]]] = [
    # accounting
    ({"accounting": {}}, set()),
    ({"accounting": {"min_capacity_acu": 1.5, "max_capacity_acu": 1.5}}, set()),
    (
        {"accounting": {}, "availability_zones": ["us-west-2a"]},
        {("accounting-zones", "availability_zones")},
    ),
    (
        {"accounting": {"min_capacity_acu": 0.7}},
        {("accounting-capacity", "accounting.min_capacity_acu")},
    ),
    (
        {"accounting": {"min_capacity_acu": 8}},
        {("accounting-capacity", "accounting.min_capacity_acu")},
    ),
    (
        {"accounting": {}, "hyperpod.accounting": {"endpoint": "db.example.com", "secret_arn": SECRET}},
        {("accounting-twice", "hyperpod.accounting")},
    ),
    (
        {"accounting": {}, "hyperpod.continuous_provisioning": False},
        {("accounting-provisioning", "hyperpod.continuous_provisioning")},
    ),
    (
        {"accounting": {}, "hyperpod": GONE, "pools": {}},
        {("accounting-unused", "accounting")},
    ),
    (
        {"accounting": {}, "hyperpod.lifecycle_scripts": {"directory": "scripts"}},
        {("accounting-lifecycle", "hyperpod.lifecycle_scripts")},
    ),
    # people of the directory
    (directory(), set()),
    (directory(users=[ANA | {"ssh_public_key": KEY, "full_name": "Ana O'Neil"}]), set()),
    (directory(users=[ANA | {"name": "Ana"}]), {("user-name", "directory.users.0.name")}),
    (directory(users=[ANA, BO | {"uid": 2001}]), {("user-duplicate", "directory.users.1.uid")}),
    (
        directory(users=[ANA | {"ssh_public_key": "x"}]),
        {("ssh-public-key", "directory.users.0.ssh_public_key")},
    ),
    (
        directory() | {"hyperpod.node_setup.users": [{"name": "ana", "uid": 2009}]},
        {("user-duplicate", "hyperpod.node_setup.users.0.name")},
    ),
    # its groups
    (group(), set()),
    (group(name="Team"), {("directory-group", "directory.groups.0.name")}),
    (group(name="everyone"), {("directory-group", "directory.groups.0.name")}),
    (group(name="daemon"), {("directory-group", "directory.groups.0.name")}),
    (group(name="ana"), {("directory-group", "directory.groups.0.name")}),
    (group(gid=2002), {("directory-group", "directory.groups.0.gid")}),
    (
        directory(groups=[{"name": "a", "gid": 3000}, {"name": "a", "gid": 3000}]),
        {("directory-group", "directory.groups.1.name"), ("directory-group", "directory.groups.1.gid")},
    ),
    (group(members=["ana", "anna"]), {("directory-member", "directory.groups.0.members.1")}),
    # its server
    *(
        (directory(domain=name), {("directory-domain", "directory.domain")})
        for name in ("internal", "Demo.internal", "demo..internal", "-demo.internal", "demo.internal.")
    ),
    (directory(domain="people.demo.internal"), set()),
    (directory(certificate_secret_arn=SECRET), set()),
    (
        directory(certificate_secret_arn=SECRET.removesuffix("-AbCdEf")),
        {("directory-certificate", "directory.certificate_secret_arn")},
    ),
    (
        directory(certificate_secret_arn="ldap"),
        {("directory-certificate", "directory.certificate_secret_arn")},
    ),
    (
        directory(instance_type="p6e-gb200.36xlarge"),
        {("directory-architecture", "directory.instance_type")},
    ),
    (directory(availability_zone="us-west-2c"), {("zone-unknown", "directory.availability_zone")}),
    (directory() | {"network.isolated": True}, {("directory-isolated-network", "directory")}),
    (directory() | {"hyperpod": GONE, "pools": {}}, {("directory-unused", "directory")}),
    (
        directory() | {"hyperpod.lifecycle_scripts": {"directory": "scripts"}},
        {("directory-lifecycle", "hyperpod.lifecycle_scripts")},
    ),
]


@pytest.mark.parametrize(("changes", "expected"), CASES)
def test_rules(changes: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    assert found(changes) == expected
