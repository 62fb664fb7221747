"""Updates the directory's entries to those of `directory.json`, over the socket that only root may use.

The entries below ou=people and ou=groups are those of the configuration and no others; passwords are left alone,
except the reader's, which follows its secret. Prints every change, and their number at the end.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Entry = dict[str, list[str]]
Entries = dict[str, Entry]

PEOPLE, GROUPS = "ou=people", "ou=groups"
EVERYONE, EVERYONE_ID = "everyone", "1999"
"""A group of all people, which is always there: nodes ask for it to see whether they are answered."""
_WAIT_SECONDS = 60.0
_KEPT = frozenset({"userPassword", "dn"})
"""Attributes that an entry may have beside those of the configuration."""


class DirectoryError(Exception):
    """A request that the directory refused; the text is its answer."""


class Directory:
    """The running slapd, reached over its socket as root of this machine."""

    def __init__(self, socket: str) -> None:
        self._url = "ldapi://" + socket.replace("/", "%2F")
        self._external = ("-Q", "-Y", "EXTERNAL", "-H", self._url)

    def wait(self, suffix: str) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            result = self._run("ldapwhoami", *self._external)
            if result.returncode == 0:
                return
            if time.monotonic() > deadline:
                raise DirectoryError(f"slapd of '{suffix}' does not answer: {result.stderr.strip()}")
            time.sleep(0.2)

    def entries(self, base: str) -> Entries:
        """Return all entries at and below `base`; none where there is no such entry."""
        result = self._run("ldapsearch", *self._external, "-LLL", "-o", "ldif-wrap=no", "-b", base)
        if result.returncode == 32:
            return {}
        self._check(result, f"cannot read '{base}'")
        return dict(_parsed(result.stdout))

    def change(self, ldif: str, what: str) -> None:
        """Do one change."""
        self._check(self._run("ldapmodify", *self._external, text=ldif), what)

    def accepts(self, name: str, password_file: Path) -> bool:
        """Return whether the name can log in with the password in a file."""
        result = self._run("ldapwhoami", "-x", "-H", self._url, "-D", name, "-y", str(password_file))
        if result.returncode not in (0, 49):
            self._check(result, f"cannot try the password of '{name}'")
        return result.returncode == 0

    def set_password(self, name: str, password_file: Path) -> None:
        """Give the name the password in a file; slapd hashes it."""
        command = ("ldappasswd", *self._external, "-T", str(password_file), name)
        self._check(self._run(*command), f"cannot set the password of '{name}'")

    def _run(self, *command: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 a list, never a shell
            command, input=text, capture_output=True, text=True, check=False, timeout=60
        )

    def _check(self, result: subprocess.CompletedProcess[str], what: str) -> None:
        if result.returncode != 0:
            answer = " ".join(result.stderr.split())
            raise DirectoryError(f"{what}: code {result.returncode}: {answer}")


def desired_entries(settings: Mapping[str, Any]) -> Entries:
    """Return the entries that the configuration describes, parents first."""
    suffix: str = settings["suffix"]
    people, groups = f"{PEOPLE},{suffix}", f"{GROUPS},{suffix}"
    first = suffix.split(",")[0].removeprefix("dc=")
    entries: Entries = {
        suffix: {"objectClass": ["dcObject", "organization"], "dc": [first], "o": [settings["organization"]]},
        people: {"objectClass": ["organizationalUnit"], "ou": ["people"]},
        groups: {"objectClass": ["organizationalUnit"], "ou": ["groups"]},
    }
    for user in settings["users"]:
        name, number = user["name"], str(user["uid"])
        full = user.get("full_name") or name
        key = user.get("ssh_public_key")
        entries[f"uid={name},{people}"] = {
            "objectClass": ["inetOrgPerson", "posixAccount", *(["ldapPublicKey"] if key else [])],
            "uid": [name],
            "cn": [full],
            "sn": [full.split()[-1]],
            "uidNumber": [number],
            "gidNumber": [number],
            "homeDirectory": [f"/home/{name}"],
            "loginShell": ["/bin/bash"],
            **({"sshPublicKey": [key]} if key else {}),
        }
        entries[f"cn={name},{groups}"] = _group(name, number, [])
    names = [user["name"] for user in settings["users"]]
    entries[f"cn={EVERYONE},{groups}"] = _group(EVERYONE, EVERYONE_ID, names)
    for group in settings["groups"]:
        number = str(group["gid"])
        entries[f"cn={group['name']},{groups}"] = _group(group["name"], number, group["members"])
    return entries


def _group(name: str, number: str, members: list[str]) -> Entry:
    entry = {"objectClass": ["posixGroup"], "cn": [name], "gidNumber": [number]}
    return entry | ({"memberUid": members} if members else {})


def apply(directory: Directory, settings: Mapping[str, Any], password_file: Path) -> int:
    """Update the entries to the configuration; return the number of changes."""
    suffix: str = settings["suffix"]
    present, entries = directory.entries(suffix), desired_entries(settings)
    reader = f"cn=reader,{suffix}"
    changes = 0
    # What goes first: an id or a name may be given to somebody else in the same change.
    for name in sorted(present, key=lambda name: -name.count(",")):
        if name not in entries and name.endswith((f",{PEOPLE},{suffix}", f",{GROUPS},{suffix}")):
            changes += _done(directory, f"dn:: {_encoded(name)}\nchangetype: delete\n", f"'{name}' deleted")
    for name, entry in entries.items():
        if name not in present:
            changes += _done(directory, _addition(name, entry), f"'{name}' added")
        elif parts := list(_differences(present[name], entry)):
            text = f"dn:: {_encoded(name)}\nchangetype: modify\n" + "-\n".join(parts) + "-\n"
            changes += _done(directory, text, f"'{name}' changed")
    if reader not in present:
        # A password that nobody has, until the one of the secret is set below.
        entry = {"objectClass": ["organizationalRole", "simpleSecurityObject"], "cn": ["reader"]}
        changes += _done(
            directory, _addition(reader, entry | {"userPassword": ["{CRYPT}*"]}), f"'{reader}' added"
        )
    if not directory.accepts(reader, password_file):
        directory.set_password(reader, password_file)
        _say(f"changed: password of '{reader}' set")
        changes += 1
    return changes


def _done(directory: Directory, ldif: str, what: str) -> int:
    directory.change(ldif, f"{what}: refused")
    _say(f"changed: {what}")
    return 1


def _addition(name: str, entry: Entry) -> str:
    lines = [f"{key}:: {_encoded(value)}" for key, values in entry.items() for value in values]
    return f"dn:: {_encoded(name)}\nchangetype: add\n" + "\n".join(lines) + "\n"


def _differences(present: Entry, entry: Entry) -> Iterator[str]:
    """Yield the parts of a modification, each ended by a newline."""
    for key in sorted(set(present) | set(entry)):
        values = entry.get(key, [])
        # Attributes are sets: LDAP keeps no order.
        if key not in _KEPT and set(present.get(key, [])) != set(values):
            lines = [f"replace: {key}", *(f"{key}:: {_encoded(value)}" for value in values)]
            yield "\n".join(lines) + "\n"


def _encoded(text: str) -> str:
    """Return text in base64, which LDIF takes for any value; so none can end its line."""
    return base64.b64encode(text.encode()).decode()


def _parsed(ldif: str) -> Iterator[tuple[str, Entry]]:
    for block in ldif.split("\n\n"):
        entry: Entry = {}
        for line in block.splitlines():
            if line.startswith("#") or ":" not in line:
                continue
            key, _, value = line.partition(":")
            plain = not value.startswith(":")
            text = value.strip() if plain else base64.b64decode(value[1:].strip()).decode(errors="replace")
            entry.setdefault(key, []).append(text)
        if "dn" in entry:
            yield entry["dn"][0], entry


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Apply the configuration; return 1 and print the reason if the directory refuses something."""
    given = Path(os.environ.get("INPUT", "/run/trainforge-directory"))
    settings = json.loads((given / "directory.json").read_text(encoding="utf-8"))
    directory = Directory(os.environ.get("SOCKET", "/run/slapd/ldapi"))
    try:
        directory.wait(settings["suffix"])
        changes = apply(directory, settings, given / "reader-password")
    except DirectoryError as error:
        _say(f"failed: {error}")
        return 1
    _say(f"entries={len(desired_entries(settings))} changed={changes}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
