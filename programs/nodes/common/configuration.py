"""Reads `node_setup.json`, reporting every mistake in it at once."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .health import ACTIONS, Health
from .metrics import Metrics, metrics_of

NODE_TYPES = ("controller", "login", "compute")

LOGIN_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(=[A-Za-z0-9.+~:-]+)?")
# One line and no options: a second line would be a second key that nobody reviewed.
_SSH_KEY = re.compile(
    r"(ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)"
    r"|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) +[A-Za-z0-9+/]+={0,3}( [^\r\n]*)?"
)
# enroot passes its settings through the shell's eval, so nothing else may get there.
_PATH = re.compile(r"(?!.*/\.\.(/|$))/[A-Za-z0-9._/-]+")
# Lines of sssd.conf: a line's end or a blank in a value could begin another setting.
_TEXT = re.compile(r"[A-Za-z0-9._:/=,+-]+")
# Below 1000 are the system's own accounts, above 60000 Ubuntu's dynamic ones.
UIDS = range(1000, 60001)


class ConfigurationError(Exception):
    """`node_setup.json` cannot be used; `problems` lists every reason, one line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class User:
    """A person with the same user and group id on every node."""

    name: str
    uid: int
    ssh_public_key: str | None = None
    sudo: bool = False


@dataclass(frozen=True)
class Containers:
    """The folders of enroot: imported layers (shared) and unpacked containers (local)."""

    cache_path: str
    runtime_path: str


@dataclass(frozen=True)
class Directory:
    """The user directory: its address, the account and secret that nodes bind with, and its certificate authority.

    `password_secret` is a secret's ARN, `authority` the s3:// address of a certificate.
    """

    uri: str
    suffix: str
    reader: str
    password_secret: str
    authority: str
    region: str


@dataclass(frozen=True)
class Accounting:
    """The accounting database's secret by ARN, and its region."""

    secret: str
    region: str


@dataclass(frozen=True)
class Configuration:
    """The configuration of the node set-up.

    `mounts` are the folders on which the service mounts file systems, so that nothing is written beneath
    one before it is there (None: unknown); `node_types` maps an instance group to controller, login or
    compute; a package may be pinned as `name=version`.
    """

    users: tuple[User, ...] = ()
    packages: tuple[str, ...] = ()
    containers: Containers | None = None
    home_path: str = "/home"
    mounts: tuple[str, ...] | None = None
    node_types: Mapping[str, str] = field(default_factory=dict)
    directory: Directory | None = None
    accounting: Accounting | None = None
    health: Health | None = None
    metrics: Metrics | None = None


def read(path: Path) -> Configuration:
    """Read and check the file.

    Raises:
        ConfigurationError: the file is absent, not JSON, or has mistakes.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError([f"cannot be read: {error.strerror}"]) from error
    except ValueError as error:
        raise ConfigurationError([f"is not JSON: {error}"]) from error
    return parsed(data)


def parsed(data: object) -> Configuration:
    """Check what was read.

    Raises:
        ConfigurationError: it has mistakes.
    """
    return _Reader().configuration(data)


class _Reader:
    """Collects problems instead of stopping at the first."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def configuration(self, data: object) -> Configuration:
        keys = {"users", "packages", "containers", "home_path", "mounts", "node_types"}
        keys |= {"directory", "accounting", "health", "metrics"}
        table = self._table(data, "the file", keys)
        containers, directory = table.get("containers"), table.get("directory")
        accounting, health = table.get("accounting"), table.get("health")
        configuration = Configuration(
            users=tuple(self._user(u, f"users[{i}]") for i, u in enumerate(self._list(table, "users"))),
            packages=self._words(table, "packages", _PACKAGE, "the name of an Ubuntu package"),
            containers=None if containers is None else self._containers(containers),
            home_path=self._path(table.get("home_path", "/home"), "home_path"),
            mounts=self._mounts(table) if "mounts" in table else None,
            node_types=self._node_types(table.get("node_types", {})),
            directory=None if directory is None else self._directory(directory),
            accounting=None if accounting is None else self._accounting(accounting),
            health=None if health is None else self._health(health, table),
            metrics=None if "metrics" not in table else self._metrics(table["metrics"]),
        )
        for label, values in (
            ("name", [u.name for u in configuration.users]),
            ("uid", [str(u.uid) for u in configuration.users]),
        ):
            for value in sorted({v for v in values if values.count(v) > 1}):
                self.problems.append(f"users: {label} '{value}' is given more than once")
        if self.problems:
            raise ConfigurationError(self.problems)
        return configuration

    def _user(self, data: object, where: str) -> User:
        table = self._table(data, where, {"name", "uid", "ssh_public_key", "sudo"})
        uid, key, sudo = table.get("uid"), table.get("ssh_public_key"), table.get("sudo", False)
        if isinstance(uid, bool) or not isinstance(uid, int) or uid not in UIDS:
            self.problems.append(f"{where}.uid: '{uid}' is not a number from {UIDS[0]} to {UIDS[-1]}")
            uid = -1
        if not isinstance(sudo, bool):
            self.problems.append(f"{where}.sudo: '{sudo}' is not true or false")
        name = self._word(table.get("name"), f"{where}.name", LOGIN_NAME, "a login name (a-z, 0-9, _ and -)")
        if key is not None:
            key = self._word(key, f"{where}.ssh_public_key", _SSH_KEY, "one OpenSSH public key in one line")
        return User(name, uid, key, sudo is True)

    def _containers(self, data: object) -> Containers:
        table = self._table(data, "containers", {"cache_path", "runtime_path"})
        keys = ("cache_path", "runtime_path")
        return Containers(*(self._path(table.get(key), f"containers.{key}") for key in keys))

    def _accounting(self, data: object) -> Accounting:
        needed = ("secret", "region")
        table = self._table(data, "accounting", set(needed))
        what = "one word without blanks or quotes"
        return Accounting(*(self._word(table.get(key), f"accounting.{key}", _TEXT, what) for key in needed))

    def _metrics(self, data: object) -> Metrics | None:
        try:
            return metrics_of(data)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            self.problems.append(f"metrics: {error!r}")
            return None

    def _health(self, data: object, settings: Mapping[str, object]) -> Health:
        action = self._table(data, "health", {"action"}).get("action")
        if action not in ACTIONS:
            self.problems.append(f"health.action: '{action}' is not one of {', '.join(ACTIONS)}")
        return Health(str(action), self._mounts(settings) if "mounts" in settings else ())

    def _directory(self, data: object) -> Directory:
        needed = ("uri", "suffix", "reader", "password_secret", "authority", "region")
        table = self._table(data, "directory", set(needed))
        what = "one word without blanks or quotes"
        return Directory(*(self._word(table.get(key), f"directory.{key}", _TEXT, what) for key in needed))

    def _mounts(self, table: Mapping[str, object]) -> tuple[str, ...]:
        return tuple(self._path(m, f"mounts[{i}]") for i, m in enumerate(self._list(table, "mounts")))

    def _node_types(self, data: object) -> dict[str, str]:
        if not isinstance(data, dict):
            self.problems.append(f"node_types: '{data}' is not a table of instance groups")
            return {}
        for group, kind in data.items():
            if kind not in NODE_TYPES:
                self.problems.append(f"node_types.{group}: '{kind}' is not one of {', '.join(NODE_TYPES)}")
        return {str(group): str(kind) for group, kind in data.items()}

    def _words(
        self, table: Mapping[str, object], key: str, form: re.Pattern[str], what: str
    ) -> tuple[str, ...]:
        return tuple(
            self._word(value, f"{key}[{i}]", form, what) for i, value in enumerate(self._list(table, key))
        )

    def _path(self, value: object, where: str) -> str:
        what = "an absolute path of letters, digits and '._/-'"
        return posixpath.normpath(self._word(value, where, _PATH, what) or "/")

    def _word(self, value: object, where: str, form: re.Pattern[str], what: str) -> str:
        if isinstance(value, str) and form.fullmatch(value):
            return value
        self.problems.append(f"{where}: '{value}' is not {what}")
        return ""

    def _list(self, table: Mapping[str, object], key: str) -> list[object]:
        value = table.get(key, [])
        if isinstance(value, list):
            return value
        self.problems.append(f"{key}: '{value}' is not a list")
        return []

    def _table(self, data: object, where: str, keys: set[str]) -> dict[str, object]:
        if not isinstance(data, dict):
            self.problems.append(f"{where}: '{data}' is not a table")
            return {}
        for key in sorted(set(data) - keys):
            self.problems.append(f"{where}: key '{key}' is unknown (known: {', '.join(sorted(keys))})")
        return data
