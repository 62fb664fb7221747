"""The control plane that the Kubernetes tests of a session share, and a namespace for each test."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kubernetes.object_sets import delete_all
from tests.kubernetes.own_cluster import OPTION, own_cluster
from tests.kubernetes.plane.api import Api
from tests.kubernetes.plane.assets import GUIDE, VARIABLE, Assets, AssetsError
from tests.kubernetes.plane.control_plane import ControlPlane
from tests.kubernetes.plane.operators import Operators
from tests.kubernetes.releases import ASSET_CHARTS, install, releases
from tests.programs import not_available, require_root
from tests.synthesis import Synthesis


@pytest.fixture(scope="session")
def assets() -> Assets:
    """Return the programs of a control plane; without them a test skips, and fails in CI."""
    found = Assets.find()
    if found is None:
        not_available(f"the variable {VARIABLE} names no folder of Kubernetes programs; {GUIDE}")
    try:
        found.check()
    except AssetsError as error:
        pytest.fail(str(error), pytrace=False)
    return found


@pytest.fixture(scope="session")
def control_plane(assets: Assets, artifacts: Callable[[str], Path]) -> Iterator[ControlPlane]:
    """Return a control plane without controllers, one for the session."""
    with ControlPlane(artifacts("control-plane"), assets) as plane:
        yield plane


@pytest.fixture(scope="module")
def with_definitions(control_plane: ControlPlane) -> Iterator[Api]:
    """Return a client of the control plane with the kinds of other makers' charts, whose controllers do not run."""
    assets = control_plane.assets
    definitions = [
        one
        for names in ASSET_CHARTS.values()
        for name in names
        for one in assets.documents(name, "definitions")
    ]
    control_plane.api.apply_all(definitions)
    yield control_plane.api
    delete_all(control_plane.api, definitions)


@pytest.fixture(scope="session")
def users_cluster(pytestconfig: pytest.Config, artifacts: Callable[[str], Path]) -> Iterator[Api | None]:
    """Return a client of the cluster that the user names; None where these tests have a control plane of their own."""
    kubeconfig = pytestconfig.getoption(OPTION)
    if kubeconfig is None:
        yield None
        return
    with own_cluster(kubeconfig, artifacts("users-cluster")) as api:
        yield api


@pytest.fixture
def api(users_cluster: Api | None, request: pytest.FixtureRequest) -> Api:
    """Return the administrator's client; a control plane that died fails the test with the end of its log."""
    if users_cluster is not None:
        return users_cluster
    plane: ControlPlane = request.getfixturevalue("control_plane")
    plane.processes.check()
    return plane.api


@pytest.fixture
def namespace(api: Api, request: pytest.FixtureRequest) -> Iterator[str]:
    """Return a namespace of this test, which ends with it."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40].rstrip("-")
    name = f"{words}-{secrets.token_hex(3)}"
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    api.delete("v1", "Namespace", name)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A control plane with the releases of a stack, and the programs that they started."""

    plane: ControlPlane
    operators: Operators
    programs: tuple[str, ...]

    @property
    def api(self) -> Api:
        """The administrator's client."""
        self.plane.processes.check()
        return self.plane.api


@pytest.fixture(scope="session")
def eks_cluster(
    assets: Assets, artifacts: Callable[[str], Path], synthesis: Callable[[str], Synthesis]
) -> Iterator[Cluster]:
    """Return a cluster with the releases of config/eks.yaml, one for the session: all operators, and queues."""
    require_root("Kueue's certificate")
    template = synthesis("config/eks.yaml").templates["EksStack"]
    with ControlPlane(artifacts("eks-cluster"), assets) as plane:
        # Pods of the operators would take part of a node that a job needs as a whole.
        operators = Operators(plane, pods=False)
        programs = [name for release in releases(template) for name in install(release, operators)]
        plane.api.await_("Kueue knows the default queue", lambda: _queue_of_a_job(plane.api))
        yield Cluster(plane, operators, tuple(programs))


def _queue_of_a_job(api: Api) -> str | None:
    """Return the queue that Kueue's webhook gives a job without one; it knows none for a moment after its creation."""
    pod = {"containers": [{"name": "pytorch", "image": "none"}]}
    job = {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": {"name": "without-queue", "namespace": "training"},
        "spec": {"pytorchReplicaSpecs": {"Master": {"replicas": 1, "template": {"spec": pod}}}},
    }
    labels = api.create(job, dry_run=True)["metadata"].get("labels", {})
    return labels.get("kueue.x-k8s.io/queue-name")
