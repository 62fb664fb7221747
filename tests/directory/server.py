"""A directory server in a temporary folder: the program of the stack, a real slapd, and stubs of system programs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.ports import free_ports
from trainforge.programs import DIRECTORY_SERVER

HOST = "ldap.demo.internal"
SUFFIX = "dc=demo,dc=internal"
READER = f"cn=reader,{SUFFIX}"
PASSWORD = "tEst0nly"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxhYmVsZWQgZm9yIHRlc3RzIG9ubHkgISEh ana@laptop"
CONTENT: dict[str, Any] = {
    "host": HOST,
    "suffix": SUFFIX,
    "organization": "demo",
    "users": [
        {"name": "ana", "uid": 2001, "full_name": "Ana Müller", "ssh_public_key": KEY},
        {"name": "bo", "uid": 2002, "full_name": None, "ssh_public_key": None},
    ],
    "groups": [{"name": "team", "gid": 3001, "members": ["ana", "bo"]}],
}
_WAIT_SECONDS = 60.0

# What refresh.sh asks of the machine: systemd starts slapd, and AWS gives and takes nothing here.
_SYSTEMCTL = """#!/bin/bash
echo "$*" >>"$STATE/systemctl"
case "$1" in
--quiet) [ -s "$STATE/pid" ] && kill -0 "$(cat "$STATE/pid")" 2>/dev/null ;;
restart)
    if [ -s "$STATE/pid" ]; then
        kill "$(cat "$STATE/pid")" && while kill -0 "$(cat "$STATE/pid")" 2>/dev/null; do sleep 0.05; done
    fi
    setsid bash "$HANDLER/serve.sh" </dev/null >>"$STATE/slapd.log" 2>&1 &
    echo $! >"$STATE/pid" ;;
esac
"""
_MACHINE = """import os, pathlib, sys
with open(os.environ["STATE"] + "/machine", "a") as stream:
    stream.write(" ".join(sys.argv[1:]) + "\\n")
"""


class DirectoryServer:
    """One server. `refresh` brings it to its configuration as its timer does; `stop` ends slapd."""

    def __init__(self, folder: Path) -> None:
        self.directory, self.given, self.state = folder / "volume", folder / "input", folder / "state"
        self.programs = folder / "programs"
        for path in (self.directory, self.given, self.state, self.programs, folder / "run"):
            path.mkdir(parents=True)
        # slapd runs as openldap and must get through to its files.
        for path in (folder, *folder.parents):
            if path.stat().st_uid == os.geteuid() and path != Path("/"):
                path.chmod(path.stat().st_mode | 0o011)
        self.socket = folder / "run" / "ldapi"
        self.tls_port, self.plain_port = free_ports(2)
        (self.programs / "systemctl").write_text(_SYSTEMCTL)
        (self.programs / "systemctl").chmod(0o755)
        (self.programs / "machine.py").write_text(_MACHINE)
        (folder / "hosts").write_text(f"127.0.0.1 {HOST}\n")
        self._hosts = folder / "hosts"
        self.configure(CONTENT)
        self.give_password(PASSWORD)

    def configure(self, content: dict[str, Any]) -> None:
        """Set what the next refresh finds as its configuration."""
        (self.given / "directory.json").write_text(json.dumps(content), encoding="utf-8")

    def give_password(self, password: str) -> None:
        """Set what the next refresh finds as the reader's password."""
        path = self.given / "reader-password"
        path.write_text(password)
        path.chmod(0o600)

    @property
    def environment(self) -> dict[str, str]:
        """Environment of the program's scripts."""
        return {
            "PATH": f"{self.programs}:/usr/sbin:/usr/bin:/sbin:/bin",
            "HANDLER": str(DIRECTORY_SERVER),
            "STATE": str(self.state),
            "DIRECTORY": str(self.directory),
            "INPUT": str(self.given),
            "SOCKET": str(self.socket),
            "MACHINE": str(self.programs / "machine.py"),
            "PYTHONDONTWRITEBYTECODE": "1",
            # A door without TLS beside that of production, to see that no login works there.
            "URLS": f"ldaps://127.0.0.1:{self.tls_port} ldap://127.0.0.1:{self.plain_port}",
        }

    def run(self, script: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a script of the program."""
        return subprocess.run(
            ["bash", str(DIRECTORY_SERVER / script)],
            env=self.environment | more,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def refresh(self) -> str:
        """Run refresh.sh, see that it succeeds, and return what it said."""
        done = self.run("refresh.sh")
        log = self.state / "slapd.log"
        tail = log.read_text() if log.exists() else ""
        assert done.returncode == 0, f"{done.stdout}{done.stderr}{tail}"
        return done.stdout + done.stderr

    def ldap(
        self, program: str, *arguments: str, name: str = READER, password: str = PASSWORD, **more: str
    ) -> Any:
        """Run an LDAP client of Debian's over TLS, by the server's real name, as `name`."""
        return self.client(
            program, "-x", "-H", self.url, *(("-D", name, "-w", password) if name else ()), *arguments, **more
        )

    @property
    def url(self) -> str:
        """The LDAP address of nodes without the port."""
        return f"ldaps://{HOST}:{self.tls_port}"

    def client(self, program: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run an LDAP client that trusts the server's authority and finds its name here."""
        environment = {
            "PATH": "/usr/bin:/bin",
            "LDAPTLS_CACERT": str(self.directory / "tls" / "ca.pem"),
            "LDAPTLS_REQCERT": "hard",
            "LD_PRELOAD": "libnss_wrapper.so",
            "NSS_WRAPPER_HOSTS": str(self._hosts),
            **more,
        }
        return subprocess.run(
            [program, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    def as_root(self, program: str, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run an LDAP client on the server itself, as root does there."""
        url = "ldapi://" + str(self.socket).replace("/", "%2F")
        return subprocess.run(
            [program, "-Q", "-Y", "EXTERNAL", "-H", url, *arguments],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def stop(self) -> None:
        """End slapd, and wait until it is gone."""
        path = self.state / "pid"
        if not path.exists():
            return
        pid = int(path.read_text())
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _WAIT_SECONDS
        while _alive(pid):
            assert time.monotonic() < deadline, f"slapd {pid} does not end"
            time.sleep(0.05)
        path.unlink()


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[DirectoryServer]:
    """Yield a server, and end its slapd after."""
    server = DirectoryServer(folder)
    try:
        yield server
    finally:
        server.stop()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A child that no process waits for is dead nevertheless.
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")
