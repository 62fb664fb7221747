"""The emulator as a child process, for tests and the demo: it never outlives the process that started it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3

from emulator.application import EVENTS_PATH, LEDGER_PATH, NOTES_PATH, RESET_PATH
from emulator.environment import DEFAULT_REGION, emulated
from emulator.resources.resource import Kind

_ROOT = Path(__file__).resolve().parents[1]
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_STOP_CLUSTERS_SECONDS = 60.0


class EmulatorError(Exception):
    """The emulator cannot be started or reached; the text says why and where its log is."""


@dataclass(frozen=True)
class LedgerResource:
    """One resource of the ledger: what was asked, what it became, how far the emulator went (`kind`)."""

    logical_id: str
    physical_id: str
    type: str
    kind: Kind
    status: str
    seconds: float
    properties: dict[str, Any]


@dataclass(frozen=True)
class LedgerStack:
    """One stack of the ledger. `retained` is what deletion left in place, as its policy asks."""

    name: str
    id: str
    region: str
    status: str
    reason: str
    outputs: dict[str, str]
    resources: tuple[LedgerResource, ...]
    retained: tuple[LedgerResource, ...]

    def count(self, kind: Kind) -> int:
        """Return how many resources are of a kind."""
        return sum(resource.kind is kind for resource in self.resources)


def _entry(entry: dict[str, Any]) -> LedgerResource:
    return LedgerResource(**{**entry, "kind": Kind(entry["kind"])})


class Emulator:
    """The emulated AWS of one region, on a free loopback port.

    `with Emulator() as aws: aws.client("ec2").describe_vpcs()`. `log` is the server's own output, `variables`
    are for moto (`MOTO_AMIS_PATH`). `control_planes` runs those of EKS clusters, none without: the name of a class
    (MODULE:NAME) that has the methods of `control_planes.ControlPlanes`, and the options that it is made with.
    `definitions` are the custom resource definitions by the Helm release of others or the EKS add-on that brings them;
    without, objects of every kind are taken.
    """

    def __init__(
        self,
        region: str = DEFAULT_REGION,
        log: Path | None = None,
        variables: Mapping[str, str] | None = None,
        control_planes: tuple[str, Mapping[str, Any]] | None = None,
        definitions: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.region = region
        self._control_planes = control_planes
        self._definitions = definitions
        self._variables = dict(variables or {})
        self._folder = tempfile.TemporaryDirectory(prefix="emulator-")
        self.log = log or Path(self._folder.name) / "emulator.log"
        self._process: subprocess.Popen[str] | None = None
        self._endpoint = ""
        self._clients: dict[str, Any] = {}

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    @property
    def endpoint(self) -> str:
        """The address, `http://localhost:PORT`."""
        assert self._endpoint, "start the emulator first"
        return self._endpoint

    def start(self) -> None:
        """Start the server and wait until it listens.

        Raises:
            EmulatorError: it ended, or did not listen within a minute.
        """
        command = [sys.executable, "-m", "emulator", "--region", self.region]
        if self._control_planes:
            named, options = self._control_planes
            file = Path(self._folder.name) / "control-planes.json"
            file.write_text(json.dumps({"class": named, "options": options}), encoding="utf-8")
            command += ["--control-planes", str(file)]
        if self._definitions is not None:
            file = Path(self._folder.name) / "definitions.json"
            file.write_text(json.dumps(dict(self._definitions)), encoding="utf-8")
            command += ["--definitions", str(file)]
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [*command, "--ready-json", "--watch-stdin"],
                cwd=_ROOT,
                env={**os.environ, **self._variables},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # Ctrl-C is for the program in front, which stops the server when it has cleaned up.
                start_new_session=True,
            )
        watchdog = threading.Timer(_START_SECONDS, self._process.kill)
        watchdog.start()
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        watchdog.cancel()
        if not line:
            self._process.wait()
            raise EmulatorError(
                f"the emulator ended with code {self._process.returncode}: {self.log.read_text()[-2000:]}"
            )
        self._endpoint = json.loads(line)["endpoint"]

    def stop(self) -> None:
        """Stop the server; harmless when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            try:
                process.wait(_STOP_CLUSTERS_SECONDS if self._control_planes else _STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
        self._clients.clear()
        self._folder.cleanup()

    def environment(self) -> dict[str, str]:
        """Return this process's environment with AWS pointed at the emulator."""
        return emulated(self.endpoint, self.region)

    def client(self, service: str) -> Any:
        """Return a boto3 client of the emulator."""
        if service not in self._clients:
            # Named credentials: a client of the emulator never looks for real ones.
            session = boto3.Session("emulator", "emulator", region_name=self.region)
            self._clients[service] = session.client(service, endpoint_url=self.endpoint)  # type: ignore[call-overload]
        return self._clients[service]

    def reset(self) -> None:
        """Forget everything that was created."""
        self._request(RESET_PATH, "POST")

    def ledger(self) -> list[LedgerStack]:
        """Return every stack, deleted ones too, with its resources."""
        return [
            LedgerStack(
                name=stack["name"],
                id=stack["id"],
                region=stack["region"],
                status=stack["status"],
                reason=stack["reason"],
                outputs=stack["outputs"],
                resources=tuple(map(_entry, stack["resources"])),
                retained=tuple(map(_entry, stack["retained"])),
            )
            for stack in self._request(LEDGER_PATH)
        ]

    def stack(self, name: str) -> LedgerStack:
        """Return the newest stack of a name.

        Raises:
            EmulatorError: there is none.
        """
        found = [stack for stack in self.ledger() if stack.name == name]
        live = [stack for stack in found if stack.status != "DELETE_COMPLETE"]
        if not found:
            raise EmulatorError(f"there is no stack '{name}' in the emulator")
        return (live or found)[-1]

    def events(self) -> list[dict[str, str]]:
        """Return every event of every stack so far."""
        events: list[dict[str, str]] = self._request(EVENTS_PATH)
        return events

    def notes(self) -> list[str]:
        """Return what is not installed on EKS clusters or does not run there, a sentence each."""
        notes: list[str] = self._request(NOTES_PATH)
        return notes

    def _request(self, path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(f"{self.endpoint}{path}", method=method)
        # A proxy of this machine's environment must not see loopback.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as answer:
                return json.load(answer)
        except OSError as error:
            raise EmulatorError(f"the emulator does not answer: {error}; its log is {self.log}") from error
