"""Rules on the directory: its domain, groups and members, its certificate, and where its server cannot live."""

from __future__ import annotations

import re
from collections.abc import Iterator

from settings.checks.people import TAKEN, USER_NAME
from settings.checks.rule import Problem, Subject, error, warning
from settings.checks.secret_arn import secret_problem
from settings.checks.selection import facts
from settings.parser.values import guess, shown

DIRECTORY_CLUSTERS = ("hyperpod", "parallelcluster")
"""Sections of the configuration that are clusters whose nodes ask the directory."""

EVERYONE = "everyone"
"""A group that the directory's server has by itself."""

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?=.{{1,200}}$){_LABEL}(\.{_LABEL})+")


@error("directory-domain")
def _domain(subject: Subject) -> Iterator[Problem]:
    """The domain names a hosted zone and, by its parts, the suffix of every entry (RFC 1034, 3.5)."""
    directory = subject.settings.directory
    domain = directory.domain if directory else None
    if domain is not None and not _DOMAIN.fullmatch(domain):
        yield Problem(
            "directory.domain",
            domain,
            f"'{shown(domain)}' is not a domain of two labels or more in lower case",
            f"such as '{subject.settings.name}.internal'",
        )


@error("directory-group")
def _groups(subject: Subject) -> Iterator[Problem]:
    """Names and ids of groups are unique, and every person has a group of the same name and id."""
    directory = subject.settings.directory
    if directory is None:
        return
    people = {user.name: f"the group of user '{shown(user.name)}'" for user in directory.users}
    names = {EVERYONE: "the group of all people"} | people
    ids = {user.uid: people[user.name] for user in directory.users}
    for index, group in enumerate(directory.groups):
        path = f"directory.groups.{index}"
        label = f"the group '{shown(group.name)}'"
        if not USER_NAME.fullmatch(group.name) or group.name in TAKEN:
            yield Problem(
                f"{path}.name",
                group.name,
                f"the group name '{shown(group.name)}' is not 1 to 32 lower case letters, digits, '_' and '-' "
                "that begin with a letter or '_', or the system has it already",
            )
        elif group.name in names:
            yield Problem(
                f"{path}.name",
                group.name,
                f"the group name '{shown(group.name)}' belongs to {names[group.name]} already",
            )
        if group.gid in ids:
            yield Problem(
                f"{path}.gid", group.gid, f"the group id {group.gid} belongs to {ids[group.gid]} already"
            )
        names.setdefault(group.name, label)
        ids.setdefault(group.gid, label)


@error("directory-member", leans_on=("directory.users",))
def _members(subject: Subject) -> Iterator[Problem]:
    """A member that no entry describes has no id, and nodes leave the name out in silence."""
    directory = subject.settings.directory
    people = [user.name for user in directory.users] if directory else []
    for index, group in enumerate(directory.groups if directory else ()):
        for position, member in enumerate(group.members):
            if member not in people:
                yield Problem(
                    f"directory.groups.{index}.members.{position}",
                    member,
                    f"the group '{shown(group.name)}' names '{shown(member)}', who is not among "
                    f"'directory.users'{guess(member, people)}",
                )


@error("directory-certificate")
def _certificate(subject: Subject) -> Iterator[Problem]:
    """The server reads the secret by its ARN, and may read no other."""
    directory = subject.settings.directory
    arn = directory.certificate_secret_arn if directory else None
    problem = secret_problem("directory.certificate_secret_arn", arn) if arn is not None else None
    if problem:
        yield problem


@error("directory-architecture", leans_on=("directory.instance_type",))
def _architecture(subject: Subject) -> Iterator[Problem]:
    """The server starts from an image of the x86_64 architecture."""
    directory = subject.settings.directory
    found = facts(directory.instance_type) if directory else None
    if directory and found and found.architecture != "x86_64":
        yield Problem(
            "directory.instance_type",
            directory.instance_type,
            f"'{directory.instance_type}' is of the architecture {found.architecture}, and the server's image "
            "is of x86_64",
        )


@error("directory-closed-network", leans_on=("network.closed",))
def _closed(subject: Subject) -> Iterator[Problem]:
    """The server installs packages from Ubuntu's mirrors and writes its address into Route 53."""
    network = subject.settings.network
    if subject.settings.directory and network.closed and not network.existing:
        yield Problem(
            "directory",
            "",
            "the directory server needs Ubuntu's mirrors and Route 53, and a closed network has no way there",
            "remove 'network.closed', or name people under 'hyperpod.extension.users'",
        )


@warning("directory-unused", leans_on=DIRECTORY_CLUSTERS)
def _unused(subject: Subject) -> Iterator[Problem]:
    """A directory that no cluster asks is paid for and tells nobody anything."""
    settings = subject.settings
    if settings.directory and not any(getattr(settings, name, None) for name in DIRECTORY_CLUSTERS):
        yield Problem(
            "directory", "", "no cluster of this configuration asks the directory", "remove 'directory'"
        )


@warning("directory-lifecycle")
def _lifecycle(subject: Subject) -> Iterator[Problem]:
    """The extension joins nodes to the directory; lifecycle scripts of your own take its place."""
    hyperpod = subject.settings.hyperpod
    if subject.settings.directory and hyperpod and hyperpod.lifecycle_scripts:
        yield Problem(
            "hyperpod.lifecycle_scripts",
            hyperpod.lifecycle_scripts.directory,
            "scripts of your own take the place of the extension, which would make the nodes ask the directory",
            "set SSSD up in them, or remove 'lifecycle_scripts'",
        )
