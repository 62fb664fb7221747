"""A control plane on loopback: etcd, API server, controller manager and scheduler, as their makers built them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.kubernetes.plane.api import Api
from tests.kubernetes.plane.assets import CONTROL_PLANE, Assets
from tests.kubernetes.plane.authority import LOCK, Authority, write_signing_keys
from tests.kubernetes.plane.processes import Processes
from tests.kubernetes.plane.shared_use import SharedUse
from tests.ports import LOOPBACK, free_ports

ADMINISTRATORS = "system:masters"
START_SECONDS = 90.0

_API_SERVER = "api-server"


class ControlPlane:
    """A control plane in `folder`, which is the caller's to remove; `kubeconfig` is the administrator's.

    `api_arguments` and `controller_manager_arguments` go to those programs besides their own. Programs and their logs
    are those of `processes`.

    `with ControlPlane(folder, assets) as plane: plane.api.list("v1", "Namespace")`
    """

    def __init__(
        self,
        folder: Path,
        assets: Assets,
        *,
        api_arguments: Sequence[str] = (),
        controller_manager_arguments: Sequence[str] = (),
    ) -> None:
        self.folder = folder.resolve()
        self.assets = assets
        self.kubeconfig = self.folder / "kubeconfig"
        self.processes = Processes(self.folder)
        self._api_arguments = list(api_arguments)
        self._use: SharedUse | None = None
        self._controller_manager_arguments = list(controller_manager_arguments)
        self._pki = self.folder / "pki"
        self._ports = dict(
            zip(("etcd", "etcd-peer", "api", "controller-manager", "scheduler"), free_ports(5), strict=True)
        )

    def __enter__(self) -> Self:
        """Start it."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    @property
    def server(self) -> str:
        """The API server's address."""
        return f"https://{LOOPBACK}:{self._ports['api']}"

    def start(self) -> None:
        """Start the programs and wait until objects can be created.

        Raises:
            AssetsError: a program is absent.
            ProgramError: a program ended, or is not ready in time; the text holds the end of its log.
            PermissionError: another user of this machine owns the folder of the webhooks' certificates.
        """
        self.assets.check(CONTROL_PLANE)
        self._use = SharedUse(LOCK)
        self._pki.mkdir(parents=True, exist_ok=True)
        self.authority = Authority()
        self.authority.issue(self._pki / "server", "kube-apiserver", names=(LOOPBACK, "localhost"))
        self.authority.issue(self._pki / "admin", "admin", organization=ADMINISTRATORS, client=True)
        write_signing_keys(self._pki / "accounts.key", self._pki / "accounts.pub")
        self.write_kubeconfig(self.kubeconfig)
        self.api = Api(self.kubeconfig)
        self._start_etcd()
        self._start_api_server()
        common = (f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", f"--bind-address={LOOPBACK}")
        self._start(
            "controller-manager",
            "kube-controller-manager",
            *common,
            f"--secure-port={self._ports['controller-manager']}",
            f"--service-account-private-key-file={self._pki / 'accounts.key'}",
            f"--root-ca-file={self.authority.certificate}",
            *self._controller_manager_arguments,
        )
        self._start("scheduler", "kube-scheduler", *common, f"--secure-port={self._ports['scheduler']}")
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self.processes.await_ready(
            "controller-manager", lambda: self.api.answers(account), seconds=START_SECONDS
        )

    def stop(self) -> None:
        """End every program that was started here, controllers first."""
        self.processes.stop()
        use, self._use = self._use, None
        if use is not None:
            # Certificates take a second to make: the next control plane of the machine finds them.
            use.end(lambda: None)

    def restart_api_server(self) -> None:
        """End the API server and start it again on its port, as an update of a cluster's control plane does."""
        self.processes.stop([_API_SERVER])
        self._start_api_server()

    def write_kubeconfig(self, path: Path, *, acting_as: str = "") -> None:
        """Write a kubeconfig of the administrator, or of a user whom the administrator acts as.

        It is JSON, which is YAML too. A service account is `system:serviceaccount:NAMESPACE:NAME`.
        """
        user = {
            "client-certificate": str(self._pki / "admin.crt"),
            "client-key": str(self._pki / "admin.key"),
        }
        if acting_as:
            user["as"] = acting_as
        cluster = {"server": self.server, "certificate-authority": str(self.authority.certificate)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": cluster}],
            "users": [{"name": "user", "user": user}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "user"}}],
            "current-context": "here",
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(document, indent=1), encoding="utf-8")

    def kubectl(self, *words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator and return how it ended and what it printed."""
        command = [self.assets.program("kubectl"), "--kubeconfig", self.kubeconfig, *words]
        return subprocess.run(
            command,
            input=text,
            text=True,
            capture_output=True,
            check=False,
            timeout=120,
            env=dict(os.environ),
        )

    def _start_etcd(self) -> None:
        client, peer = (f"http://{LOOPBACK}:{self._ports[name]}" for name in ("etcd", "etcd-peer"))
        self._start(
            "etcd",
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            # Nobody needs its data after a power cut.
            "--unsafe-no-fsync",
        )

    def _start_api_server(self) -> None:
        self._start(
            _API_SERVER,
            "kube-apiserver",
            f"--etcd-servers=http://{LOOPBACK}:{self._ports['etcd']}",
            f"--bind-address={LOOPBACK}",
            f"--advertise-address={LOOPBACK}",
            "--endpoint-reconciler-type=none",
            f"--secure-port={self._ports['api']}",
            f"--tls-cert-file={self._pki / 'server.crt'}",
            f"--tls-private-key-file={self._pki / 'server.key'}",
            f"--client-ca-file={self.authority.certificate}",
            f"--service-account-key-file={self._pki / 'accounts.pub'}",
            f"--service-account-signing-key-file={self._pki / 'accounts.key'}",
            f"--service-account-issuer={self.server}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC",
            "--allow-privileged=true",
            "--kubelet-preferred-address-types=InternalIP",
            *self._api_arguments,
        )
        self.processes.await_ready(_API_SERVER, self._ready, seconds=START_SECONDS)

    def _ready(self) -> bool:
        # Without etcd the API server would end too, and its log says no more than that it does not reach it.
        self.processes.check(["etcd"])
        return self.api.answers("/readyz")

    def _start(self, name: str, program: str, *arguments: str) -> None:
        self.processes.start(name, [self.assets.program(program), *arguments])
