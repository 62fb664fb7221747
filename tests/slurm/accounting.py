"""A Slurm that keeps accounts: Debian's slurmdbd, and Debian's MariaDB with the parameters of our database."""

from __future__ import annotations

import getpass
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.ports import LOOPBACK, free_ports
from tests.programs import require_program
from tests.slurm.cluster import SlurmCluster, SlurmError
from trainforge.accounting.parameters import PARAMETERS, USER
from trainforge.programs import NODES

_FOLLOWER = NODES / "common" / "accounting_password.py"
FIRST_PASSWORD = "f1rstW0rd"
_PROGRAMS = {
    "slurmdbd": "slurmdbd slurm-wlm-mysql-plugin",
    "sacct": "slurm-client",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
    "mariadb": "mariadb-client",
    "openssl": "openssl",
}
_SCHEMA = "slurm_acct_db"
_START_SECONDS = 120.0
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class AccountedCluster(SlurmCluster):
    """A cluster whose jobs are kept in a database that refuses connections without TLS.

    The database takes `parameters`, by default those of the stack, and the stack's user.
    """

    parameters: Mapping[str, str] = field(default_factory=lambda: PARAMETERS)
    password: str = FIRST_PASSWORD
    _ports: tuple[int, int] = (0, 0)
    _database_socket: tempfile.TemporaryDirectory[str] | None = None

    def start(self) -> None:
        """Start the database, slurmdbd and the cluster.

        Raises:
            SlurmError: one of them does not come up.
        """
        for program, package in _PROGRAMS.items():
            if shutil.which(program, path=_PATH) is None:
                require_program(program, f"Debian and Ubuntu have it: apt-get install {package}")
        first, second = free_ports(2)
        self._ports = (first, second)
        self.settings = {
            "AccountingStorageType": "accounting_storage/slurmdbd",
            "AccountingStorageHost": "localhost",
            "AccountingStoragePort": str(second),
            **self.settings,
        }
        super().start()

    def stop(self) -> None:
        """End everything."""
        super().stop()
        if self._database_socket:
            self._database_socket.cleanup()
            self._database_socket = None

    def _start_munged(self, listening: Path) -> None:
        # Between the two: slurmdbd signs with munge's key, and a new slurmctld wants an answer from slurmdbd.
        super()._start_munged(listening)
        self._start_database()
        self._token_socket = listening
        # To slurmdbd clients sign at a socket that has a setting of its own.
        self.settings = {**self.settings, "AccountingStoragePass": str(listening)}
        assert self._layout
        self._layout.write(self.folder, getpass.getuser(), self.settings)
        self.start_slurmdbd()

    def _start_database(self) -> None:
        # A folder with a short name: the path of a socket has 107 characters at most.
        self._database_socket = tempfile.TemporaryDirectory(prefix="mariadb-")
        data, port = self.folder / "database", self._ports[0]
        self._make_certificates()
        common = ["--no-defaults", f"--datadir={data}", f"--user={getpass.getuser()}"]
        done = subprocess.run(
            ["mariadb-install-db", *common, "--auth-root-authentication-method=socket", "--skip-test-db"],
            env={"PATH": _PATH},
            capture_output=True,
            text=True,
            check=False,
            timeout=_START_SECONDS,
        )
        if done.returncode != 0:
            raise SlurmError(f"no database can be made: {done.stdout}{done.stderr}")
        tls = [f"--ssl-{part}={self.folder / 'tls' / part}.pem" for part in ("ca", "cert", "key")]
        options = [f"--{name}={value}" for name, value in self.parameters.items()]
        network = [f"--bind-address={LOOPBACK}", f"--port={port}", f"--socket={self._socket}"]
        pid = f"--pid-file={self.folder / 'mariadb.pid'}"
        self._start_daemon("mariadb", ["/usr/sbin/mariadbd", *common, *network, *tls, *options, pid])
        if not self._wait(self._answers, _START_SECONDS):
            raise SlurmError(f"the database does not answer; {self._logs()}")
        # slurmdbd makes the schema by itself; but Debian's libmariadb 11.8.9 fails every query after a connection was
        # tried for a schema that is not there and made again (error 5027).
        self.sql(
            f"CREATE USER '{USER}'@'%' IDENTIFIED BY '{self.password}'; "
            f"GRANT ALL ON *.* TO '{USER}'@'%' WITH GRANT OPTION; "
            f"CREATE DATABASE {_SCHEMA}"
        )

    @property
    def _socket(self) -> Path:
        assert self._database_socket
        return Path(self._database_socket.name) / "socket"

    def _answers(self) -> bool:
        self._check_daemons()
        return self.client("--socket", str(self._socket), "--execute", "SELECT 1").returncode == 0

    def _make_certificates(self) -> None:
        tls = self.folder / "tls"
        tls.mkdir()
        (tls / "extension").write_text(f"subjectAltName=IP:{LOOPBACK}\n")
        for command in (
            f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout {tls}/ca.key -out {tls}/ca.pem",
            f"req -newkey rsa:2048 -nodes -subj /CN=database -keyout {tls}/key.pem -out {tls}/request",
            f"x509 -req -days 2 -in {tls}/request -CA {tls}/ca.pem -CAkey {tls}/ca.key -CAcreateserial "
            f"-extfile {tls}/extension -out {tls}/cert.pem",
        ):
            subprocess.run(["openssl", *command.split()], check=True, capture_output=True)

    def client(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run the database's client and return how it ended."""
        return subprocess.run(
            ["mariadb", "--no-defaults", *options],
            env={"PATH": _PATH},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def sql(self, statement: str) -> str:
        """Do a statement as the database's keeper, and return what it answers.

        Raises:
            SlurmError: it is refused.
        """
        done = self.client("--socket", str(self._socket), "--batch", "--execute", statement)
        if done.returncode != 0:
            raise SlurmError(f"the database refuses: {done.stderr}")
        return done.stdout

    def login(self, *options: str, password: str) -> subprocess.CompletedProcess[str]:
        """Log in as slurmdbd's user over the network."""
        where = ("--host", LOOPBACK, "--port", str(self._ports[0]), "--user", USER, f"--password={password}")
        return self.client(*where, "--batch", "--execute", "SELECT 1", *options)

    @property
    def over_tls(self) -> Sequence[str]:
        """Options of the client that verify the database's certificate."""
        return ("--ssl-verify-server-cert", f"--ssl-ca={self.folder / 'tls' / 'ca.pem'}")

    def start_slurmdbd(self) -> None:
        """Write slurmdbd.conf, start it, and wait until it takes connections.

        Raises:
            SlurmError: it does not.
        """
        path = self.folder / "slurmdbd.conf"
        path.touch(mode=0o600)
        settings = {
            "AuthType": "auth/munge",
            "AuthInfo": f"socket={self._token_socket}",
            "DbdHost": "localhost",
            "DbdPort": str(self._ports[1]),
            "SlurmUser": getpass.getuser(),
            "LogFile": str(self.folder / "logs" / "slurmdbd.log"),
            "PidFile": str(self.folder / "slurmdbd.pid"),
            "StorageType": "accounting_storage/mysql",
            "StorageHost": LOOPBACK,
            "StoragePort": str(self._ports[0]),
            "StorageUser": USER,
            "StoragePass": self.password,
            "StorageLoc": _SCHEMA,
            # Without it Debian's slurmdbd does not ask for TLS, and is refused.
            "StorageParameters": f"SSL_CA={self.folder / 'tls' / 'ca.pem'}",
        }
        path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        self._run_slurmdbd()

    def _run_slurmdbd(self) -> None:
        self._start_daemon("slurmdbd", ["slurmdbd", "-D"])
        if not self._wait(self._keeps_accounts, _START_SECONDS):
            raise SlurmError(f"slurmdbd does not answer; {self._logs()}")

    def follow(self, password: str, folder: Path) -> None:
        """Run the nodes' own program on this slurmdbd.conf, with a secret of that password, and restart slurmdbd.

        Raises:
            SlurmError: the program fails, or slurmdbd does not come up with what it wrote.
        """
        (folder / "etc").mkdir()
        (folder / "etc" / "slurm").symlink_to(self.folder)
        programs = folder / "bin"
        programs.mkdir()
        secret = json.dumps({"SecretString": json.dumps({"username": USER, "password": password})})
        for name, text in (("aws", f"echo '{secret}'"), ("systemctl", f"echo $* >>{folder}/restarts")):
            (programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name).chmod(0o755)
        done = subprocess.run(
            [sys.executable, str(_FOLLOWER), "arn:aws:secretsmanager:us-west-2:1:secret:x", "us-west-2"],
            env={"PATH": f"{programs}:{_PATH}", "ROOT": str(folder)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode != 0 or not (folder / "restarts").exists():
            raise SlurmError(f"the program did not follow: {done.stdout}{done.stderr}")
        self.stop_slurmdbd()
        self._run_slurmdbd()

    def stop_slurmdbd(self) -> None:
        """End slurmdbd."""
        daemon = self._daemons.pop("slurmdbd")
        daemon.terminate()
        daemon.wait(60)

    def _keeps_accounts(self) -> bool:
        self._check_daemons()
        try:
            self.run("sacctmgr", "--noheader", "show", "cluster")
        except SlurmError:
            return False
        return True
