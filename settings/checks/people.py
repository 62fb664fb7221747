"""Rules on people: users of the nodes, their keys, and who gets mail; and on packages that nodes install."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from settings.checks.rule import Problem, Subject, error
from settings.checks.selection import extensions
from settings.parser.values import shown
from settings.sections.directory import DirectoryUser
from settings.sections.hyperpod import UserSettings

USER_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
# Accounts of Debian's base-passwd (passwd.master), and those that images with Slurm bring: their own user by system,
# and ParallelCluster's (aws-parallelcluster-cookbook, attributes: cluster_admin_user; recipes of DCV).
TAKEN = frozenset(
    {"root", "daemon", "bin", "sys", "sync", "games", "man", "lp", "mail", "news", "uucp", "proxy"}
    | {"www-data", "backup", "list", "irc", "_apt", "nobody", "ubuntu", "slurm", "munge"}
    | {"ec2-user", "rocky", "pcluster-admin", "dcvextauth"}
)
# sshd manual, AUTHORIZED_KEYS FILE FORMAT: the key types it lists.
_KEY_TYPES = frozenset(
    {"ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"}
    | {"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"}
)
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_EMAIL = re.compile(rf"[^\s@,;<>\"()]{{1,64}}@{_LABEL}(?:\.{_LABEL})+")
# Debian policy 5.6.1 (names) and 5.6.12 (versions).
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(=[A-Za-z0-9.+~:-]+)?")


Person = tuple[str, UserSettings | DirectoryUser]


def _users(subject: Subject) -> Iterator[Person]:
    """Yield the people of the directory and of the nodes of every cluster."""
    yield from _directory_users(subject)
    for cluster, _ in extensions(subject.settings):
        yield from _node_users(subject, cluster)


def _directory_users(subject: Subject) -> Iterator[Person]:
    directory = subject.settings.directory
    for index, person in enumerate(directory.users if directory else ()):
        yield f"directory.users.{index}", person


def _node_users(subject: Subject, cluster: str) -> Iterator[Person]:
    extension = dict(extensions(subject.settings)).get(cluster)
    for index, user in enumerate(extension.users if extension else ()):
        yield f"{cluster}.extension.users.{index}", user


def _meeting(subject: Subject) -> Iterator[list[Person]]:
    """Yield the people who meet on the nodes of a cluster: its own, and the directory's everywhere."""
    everywhere = list(_directory_users(subject))
    clusters = [cluster for cluster, _ in extensions(subject.settings)]
    for cluster in clusters:
        yield [*everywhere, *_node_users(subject, cluster)]
    if not clusters:
        yield everywhere


@error("user-name")
def _names(subject: Subject) -> Iterator[Problem]:
    """useradd refuses other names on each node, and an account of the image must not change hands."""
    for path, user in _users(subject):
        if not USER_NAME.fullmatch(user.name):
            yield Problem(
                f"{path}.name",
                user.name,
                f"the user name '{shown(user.name)}' is not 1 to 32 lower case letters, digits, '_' and '-' "
                "that begin with a letter or '_'",
            )
        elif user.name in TAKEN:
            yield Problem(
                f"{path}.name",
                user.name,
                f"the system has an account '{user.name}' already",
                "choose another",
            )


@error(
    "user-duplicate",
    leans_on=("hyperpod.extension.users", "parallelcluster.extension.users", "directory.users"),
)
def _duplicates(subject: Subject) -> Iterator[Problem]:
    """Names and ids are unique on a node; on shared file systems a shared id is a shared owner."""
    seen: set[str] = set()
    for people in _meeting(subject):
        for key in ("name", "uid"):
            owners: dict[object, str] = {}
            for path, user in people:
                value, where = getattr(user, key), f"{path}.{key}"
                if value in owners and where not in seen:
                    seen.add(where)
                    what = "name" if key == "name" else "id"
                    yield Problem(
                        where,
                        value,
                        f"the user {what} '{shown(value)}' belongs to the user '{shown(owners[value])}' already",
                        "give each user one of their own",
                    )
                owners.setdefault(value, user.name)


@error("ssh-private-key")
def _private_keys(subject: Subject) -> Iterator[Problem]:
    """A configuration is committed and copied to every node: a private key in it is no longer private."""
    for path, user in _users(subject):
        if _is_private(user.ssh_public_key):
            yield Problem(
                f"{path}.ssh_public_key",
                user.ssh_public_key,
                f"this is the private key of user '{shown(user.name)}'; treat it as lost and make a new pair",
                "the public key is the one line in the file that ends with '.pub'",
            )


@error("ssh-public-key")
def _public_keys(subject: Subject) -> Iterator[Problem]:
    """sshd skips a line that it cannot read, and the user cannot log in (sshd manual, AUTHORIZED_KEYS)."""
    for path, user in _users(subject):
        key = user.ssh_public_key
        if key is not None and not _is_private(key) and not _is_public(key):
            yield Problem(
                f"{path}.ssh_public_key",
                key,
                f"this is not an OpenSSH public key of user '{shown(user.name)}': a type, the key in base64 "
                "and a comment on one line",
                "'ssh-keygen -t ed25519' makes a pair; take the file that ends with '.pub'",
            )


def _is_private(key: str | None) -> bool:
    return key is not None and "PRIVATE KEY" in key.upper()


def _is_public(key: str) -> bool:
    parts = key.split()
    if len(parts) < 2 or parts[0] not in _KEY_TYPES or not key.isprintable():
        return False
    try:
        blob = base64.b64decode(parts[1], validate=True)
    except (binascii.Error, ValueError):
        return False
    # RFC 4253, 6.6: the key itself begins with the length and text of its type.
    kind = parts[0].encode()
    return blob[4 : 4 + len(kind)] == kind and int.from_bytes(blob[:4], "big") == len(kind)


@error("email-form")
def _emails(subject: Subject) -> Iterator[Problem]:
    """SNS mails a confirmation to what it is given and never says that nobody got it."""
    seen: set[str] = set()
    for index, email in enumerate(subject.settings.notifications.emails):
        path = f"notifications.emails.{index}"
        if not _EMAIL.fullmatch(email):
            yield Problem(path, email, f"'{shown(email)}' is not an e-mail address")
        elif email.lower() in seen:
            yield Problem(path, email, f"the address '{shown(email)}' is listed twice", "remove one")
        seen.add(email.lower())


@error("package-name")
def _packages(subject: Subject) -> Iterator[Problem]:
    """A name that apt cannot read stops the script on every node."""
    for cluster, extension in extensions(subject.settings):
        for index, package in enumerate(extension.packages):
            if not _PACKAGE.fullmatch(package):
                yield Problem(
                    f"{cluster}.extension.packages.{index}",
                    package,
                    f"'{shown(package)}' is not the name of an Ubuntu package, with '=VERSION' at most",
                )
