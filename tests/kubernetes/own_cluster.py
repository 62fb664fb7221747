"""A cluster of the user, in place of the tests' control plane: for tests that stay in a namespace of their own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kubernetes.plane.api import Api
from tests.kubernetes.plane.processes import Processes
from tests.programs import require_program

OPTION = "--kubeconfig"
PERMISSION = "--may-create-namespaces"
MARK = "namespaced"

_PROXY = "kubectl-proxy"
_SECONDS = 30.0


@contextmanager
def own_cluster(kubeconfig: Path, folder: Path, *, kubectl: str = "") -> Iterator[Api]:
    """Yield a client of a kubeconfig's current cluster, whatever way of logging in the kubeconfig has.

    `kubectl proxy` logs in: EKS's kubeconfig runs `aws eks get-token`, others have tokens or certificates in them.

    Raises:
        ProgramError: kubectl refuses the kubeconfig; the text holds what it said.
    """
    kubectl = kubectl or require_program("kubectl", "https://kubernetes.io/docs/tasks/tools")
    processes = Processes(folder)
    try:
        processes.start(_PROXY, [kubectl, OPTION, kubeconfig.expanduser().resolve(), "proxy", "--port=0"])
        log = processes.log(_PROXY)
        serving = re.compile(r"serve on (\S+:\d+)")
        processes.await_ready(_PROXY, lambda: bool(serving.search(log.read_text())), seconds=_SECONDS)
        address = serving.findall(log.read_text())[-1]
        local = folder / "kubeconfig"
        document = {"clusters": [{"cluster": {"server": f"http://{address}"}}], "users": [{"user": {}}]}
        local.write_text(json.dumps(document), encoding="utf-8")
        yield Api(local)
    finally:
        processes.stop()
