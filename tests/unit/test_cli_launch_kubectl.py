"""`trainforge launch` with the real kubectl, on a kubeconfig of ours and against an API of ours."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.kubectl import require_kubectl
from tests.unit.kubernetes_api import KubernetesApi, kubernetes_api
from tests.unit.launching import EKS, Launching, cluster_info

OTHER = EKS.replace("demo-eks", "other")


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> str:
    return require_kubectl(tmp_path_factory.mktemp("kubectl"))


@pytest.fixture
def api() -> Iterator[KubernetesApi]:
    with kubernetes_api() as serving:
        yield serving


@pytest.fixture
def launch(kubectl: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launching:
    """The command; kubectl keeps what it caches in the test's folder."""
    launching = Launching(tmp_path, monkeypatch)
    (launching.programs / "kubectl").symlink_to(kubectl)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    return launching


def kubeconfig(launch: Launching, servers: dict[str, str], current: str = "") -> None:
    """Write a kubeconfig as `aws eks update-kubeconfig` has it: everything is called by the cluster's ARN."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server}} for name, server in servers.items()],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in servers],
        "users": [{"name": name, "user": {"token": "a-token"}} for name in servers],
        "current-context": current,
    }
    (launch.folder / "kubeconfig").write_text(yaml.safe_dump(document), encoding="utf-8")


def test_it_is_created_in_the_clusters_own_context(launch: Launching, api: KubernetesApi) -> None:
    """The current context is another cluster's: nothing is asked of it (its server does not answer)."""
    kubeconfig(launch, {OTHER: "http://127.0.0.1:1", EKS: api.url}, current=OTHER)
    result = launch("eks", "--preset", "tiny", info=cluster_info("eks"))
    assert result.exit_code == 0, result.output
    assert f"  how    kubectl --context {EKS} create -f -\n" in result.output
    assert "submitted trainjob.trainer.kubeflow.org/cpu-ddp-tiny created\n" in result.output
    ((path, sent),) = api.objects.items()
    assert path == "/apis/trainer.kubeflow.org/v1alpha1/namespaces/training/trainjobs/cpu-ddp-tiny"
    assert sent["spec"]["trainer"]["numNodes"] == 2


def test_existing_resources_are_left_and_can_be_removed(launch: Launching, api: KubernetesApi) -> None:
    kubeconfig(launch, {EKS: api.url})
    assert launch("eks", "--preset", "tiny", info=cluster_info("eks")).exit_code == 0
    before = dict(api.objects)
    again = launch("eks", "--preset", "tiny", "--nodes", "4", info=cluster_info("eks"))
    assert again.exit_code == 2
    assert "there is a job 'cpu-ddp-tiny' already in namespace 'training'" in again.stderr
    assert api.objects == before
    # Another run beside it, as the message says.
    beside = launch("eks", "--preset", "tiny", "--run-id", "two", info=cluster_info("eks"))
    assert beside.exit_code == 0, beside.output
    assert len(api.objects) == 2
    # Or the same one once more, after the command that it tells.
    command = re.search(r"'(kubectl .+? delete .+?)'", again.stderr)
    assert command
    words = [str(launch.programs / "kubectl"), *shlex.split(command[1])[1:], "--wait=false"]
    subprocess.run(words, check=True, capture_output=True)
    assert launch("eks", "--preset", "tiny", "--nodes", "4", info=cluster_info("eks")).exit_code == 0
    assert len(api.objects) == 2


def test_a_race_is_reported_the_same_way(
    launch: Launching, api: KubernetesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job was not there when it was looked for: the server's own refusal is understood."""
    kubeconfig(launch, {EKS: api.url})
    assert launch("eks", "--preset", "tiny", info=cluster_info("eks")).exit_code == 0
    monkeypatch.setattr("cli.submit.kubernetes._Job.obstacle", lambda _: "")
    again = launch("eks", "--preset", "tiny", info=cluster_info("eks"))
    assert again.exit_code == 2
    assert again.stderr.startswith("error: there is a job 'cpu-ddp-tiny' already in namespace 'training'")


def test_an_operator_that_is_not_there(launch: Launching, api: KubernetesApi) -> None:
    kubeconfig(launch, {EKS: api.url})
    api.knows_kind = False
    result = launch("eks", "--preset", "tiny", info=cluster_info("eks"))
    assert result.exit_code == 2
    assert (
        "the cluster has no kind TrainJob (trainer.kubeflow.org): its operator is not installed"
        in result.stderr
    )


def test_a_cluster_that_does_not_answer(launch: Launching) -> None:
    with socket.socket() as unused:
        # Bound and not listening: whoever connects is refused, and nobody else takes the port.
        unused.bind(("127.0.0.1", 0))
        kubeconfig(launch, {EKS: f"http://127.0.0.1:{unused.getsockname()[1]}"})
        result = launch("eks", "--preset", "tiny", "--dry-run", info=cluster_info("eks"))
    assert result.exit_code == 0
    assert "dry run: nothing was submitted; 'kubectl --context " in result.output
    assert "refused" in result.output


def test_no_kubeconfig(launch: Launching) -> None:
    result = launch("eks", "--preset", "tiny", info=cluster_info("eks"))
    assert result.exit_code == 2
    assert (
        "none of kubectl's contexts is the EKS cluster 'demo-eks' in us-west-2 (none is current)"
        in result.stderr
    )
    assert "'aws eks update-kubeconfig --name demo-eks --region us-west-2' makes one" in result.stderr


def test_a_broken_kubeconfig(launch: Launching) -> None:
    (launch.folder / "kubeconfig").write_text("contexts: 7\n", encoding="utf-8")
    result = launch("eks", "--preset", "tiny", info=cluster_info("eks"))
    assert result.exit_code == 2
    assert (
        "'kubectl config view' does not show its contexts: error: error loading config file" in result.stderr
    )
