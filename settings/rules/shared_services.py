"""Rules on what clusters share: the accounting database, the directory, people on nodes, and packages."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from catalog.cluster_kinds import DIRECTORY, SLURM
from catalog.login_users import LOGIN_USERS
from settings.parser.values import guess, shown
from settings.rules.rule import Problem, Subject, error, warning
from settings.rules.secret_arn import secret_problem
from settings.rules.selection import facts, node_setups
from settings.sections.directory import DirectoryUser
from settings.sections.hyperpod import UserSettings


@error("accounting-zones", depends_on=("availability_zones",))
def _zones(subject: Subject) -> Iterator[Problem]:
    """An Aurora cluster's subnets are in two zones at least (Aurora user guide, "DB subnet groups")."""
    zones = subject.settings.availability_zones
    if subject.settings.accounting and len(set(zones)) < 2:
        yield Problem(
            "availability_zones",
            zones,
            "the accounting database needs subnets in two zones, and the deployment has one",
            "add a second zone, or remove 'accounting': each cluster then keeps its own records",
        )


@error("accounting-capacity")
def _capacity(subject: Subject) -> Iterator[Problem]:
    """Aurora takes capacities in steps of half a unit, the minimum not above the maximum.

    Source: Aurora user guide, "Aurora Serverless v2 capacity".
    """
    accounting = subject.settings.accounting
    if accounting is None:
        return
    for key in ("min_capacity_acu", "max_capacity_acu"):
        value = getattr(accounting, key)
        if value * 2 != int(value * 2):
            yield Problem(
                f"accounting.{key}", value, f"{value} is not a multiple of 0.5 Aurora capacity units"
            )
    if accounting.min_capacity_acu > accounting.max_capacity_acu:
        yield Problem(
            "accounting.min_capacity_acu",
            accounting.min_capacity_acu,
            f"the minimum capacity {accounting.min_capacity_acu} is above the maximum, "
            f"{accounting.max_capacity_acu}",
        )


@error("accounting-twice")
def _twice(subject: Subject) -> Iterator[Problem]:
    """A cluster keeps its accounts in one database."""
    hyperpod = subject.settings.hyperpod
    if subject.settings.accounting and hyperpod and hyperpod.accounting:
        yield Problem(
            "hyperpod.accounting",
            hyperpod.accounting.endpoint,
            "'accounting' makes a database for the clusters, and 'hyperpod.accounting' names another",
            "remove one of them",
        )


@warning("accounting-unused", depends_on=SLURM)
def _accounting_unused(subject: Subject) -> Iterator[Problem]:
    """Slurm keeps accounts; without a Slurm cluster the database is paid for and stays empty."""
    settings = subject.settings
    if settings.accounting and not any(cluster in settings.clusters for cluster in SLURM):
        yield Problem(
            "accounting",
            "",
            "no cluster of this configuration runs Slurm, so nothing uses the accounting database",
            "remove 'accounting'",
        )


@warning("accounting-lifecycle")
def _accounting_lifecycle(subject: Subject) -> Iterator[Problem]:
    """The node set-up updates the controller's password; lifecycle scripts of your own replace the node set-up."""
    hyperpod = subject.settings.hyperpod
    if subject.settings.accounting and hyperpod and hyperpod.lifecycle_scripts:
        yield Problem(
            "hyperpod.lifecycle_scripts",
            hyperpod.lifecycle_scripts.directory,
            "scripts of your own take the place of the node set-up, which would give slurmdbd each new password",
            "update the password from the secret in them, or remove 'lifecycle_scripts'",
        )


USER_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
# Accounts of Debian's base-passwd (passwd.master), and those that images with Slurm bring: their own user by system,
# and ParallelCluster's (aws-parallelcluster-cookbook, attributes: cluster_admin_user; recipes of DCV).
TAKEN = frozenset(
    {"root", "daemon", "bin", "sys", "sync", "games", "man", "lp", "mail", "news", "uucp", "proxy"}
    | {"www-data", "backup", "list", "irc", "_apt", "nobody", "slurm", "munge"}
    | {*LOGIN_USERS.values(), "pcluster-admin", "dcvextauth"}
)
# sshd manual, AUTHORIZED_KEYS FILE FORMAT: the key types it lists.
_KEY_TYPES = frozenset(
    {"ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"}
    | {"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"}
)
_PEOPLE_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_EMAIL = re.compile(rf"[^\s@,;<>\"()]{{1,64}}@{_PEOPLE_LABEL}(?:\.{_PEOPLE_LABEL})+")
# Debian policy 5.6.1 (names) and 5.6.12 (versions).
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(=[A-Za-z0-9.+~:-]+)?")

Person = tuple[str, UserSettings | DirectoryUser]


def _users(subject: Subject) -> Iterator[Person]:
    """Yield the people of the directory and of the nodes of every cluster."""
    yield from _directory_users(subject)
    for cluster, _ in node_setups(subject.settings):
        yield from _node_users(subject, cluster)


def _directory_users(subject: Subject) -> Iterator[Person]:
    directory = subject.settings.directory
    for index, person in enumerate(directory.users if directory else ()):
        yield f"directory.users.{index}", person


def _node_users(subject: Subject, cluster: str) -> Iterator[Person]:
    node_setup = dict(node_setups(subject.settings)).get(cluster)
    for index, user in enumerate(node_setup.users if node_setup else ()):
        yield f"{cluster}.node_setup.users.{index}", user


def _people_by_cluster(subject: Subject) -> Iterator[list[Person]]:
    """Yield the people who have accounts on the nodes of a cluster: its own, and the directory's."""
    everywhere = list(_directory_users(subject))
    clusters = [cluster for cluster, _ in node_setups(subject.settings)]
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
    depends_on=("hyperpod.node_setup.users", "parallelcluster.node_setup.users", "directory.users"),
)
def _duplicates(subject: Subject) -> Iterator[Problem]:
    """Names and ids are unique on a node; on shared file systems a shared id is a shared owner."""
    seen: set[str] = set()
    for people in _people_by_cluster(subject):
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
    """SNS mails a confirmation to any address and never reports that nobody received it."""
    settings = subject.settings
    lists = {"notifications": settings.notifications.emails}
    for severity, route in (settings.observability.alerts if settings.observability else {}).items():
        lists[f"observability.alerts.{severity}"] = route.emails
    for section, emails in lists.items():
        seen: set[str] = set()
        for index, email in enumerate(emails):
            path = f"{section}.emails.{index}"
            if not _EMAIL.fullmatch(email):
                yield Problem(path, email, f"'{shown(email)}' is not an e-mail address")
            elif email.lower() in seen:
                yield Problem(path, email, f"the address '{shown(email)}' is listed twice", "remove one")
            seen.add(email.lower())


@error("package-name")
def _packages(subject: Subject) -> Iterator[Problem]:
    """A name that apt cannot read stops the script on every node."""
    for cluster, node_setup in node_setups(subject.settings):
        for index, package in enumerate(node_setup.packages):
            if not _PACKAGE.fullmatch(package):
                yield Problem(
                    f"{cluster}.node_setup.packages.{index}",
                    package,
                    f"'{shown(package)}' is not the name of an Ubuntu package, with '=VERSION' at most",
                )


EVERYONE = "everyone"
"""A group that the directory's server has by itself."""

_DIRECTORY_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?=.{{1,200}}$){_DIRECTORY_LABEL}(\.{_DIRECTORY_LABEL})+")


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


@error("directory-member", depends_on=("directory.users",))
def _members(subject: Subject) -> Iterator[Problem]:
    """A member that no entry describes has no id, and nodes omit the name without a message."""
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


@error("directory-architecture", depends_on=("directory.instance_type",))
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


@error("directory-isolated-network", depends_on=("network.isolated",))
def _isolated(subject: Subject) -> Iterator[Problem]:
    """The server installs packages from Ubuntu's mirrors and writes its address into Route 53."""
    network = subject.settings.network
    if subject.settings.directory and network.isolated and not network.existing:
        yield Problem(
            "directory",
            "",
            "the directory server needs Ubuntu's mirrors and Route 53, which an isolated network cannot reach",
            "remove 'network.isolated', or name people under 'hyperpod.node_setup.users'",
        )


@warning("directory-unused", depends_on=DIRECTORY)
def _directory_unused(subject: Subject) -> Iterator[Problem]:
    """A directory that no cluster uses costs money and has no effect."""
    settings = subject.settings
    if settings.directory and not any(cluster in settings.clusters for cluster in DIRECTORY):
        yield Problem(
            "directory", "", "no cluster of this configuration uses the directory", "remove 'directory'"
        )


@warning("directory-lifecycle")
def _directory_lifecycle(subject: Subject) -> Iterator[Problem]:
    """The node set-up joins nodes to the directory; lifecycle scripts of your own take its place."""
    hyperpod = subject.settings.hyperpod
    if subject.settings.directory and hyperpod and hyperpod.lifecycle_scripts:
        yield Problem(
            "hyperpod.lifecycle_scripts",
            hyperpod.lifecycle_scripts.directory,
            "scripts of your own take the place of the node set-up, which would join the nodes to the directory",
            "configure SSSD in them, or remove 'lifecycle_scripts'",
        )
