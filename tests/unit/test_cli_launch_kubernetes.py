"""`trainforge launch` on Kubernetes, with a kubectl of ours: the right cluster, and nothing overwritten."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import yaml

from tests.unit.launching import EKS, Launching, cluster_info

CONTEXT = "--context context-0"
JOB = "trainjob.trainer.kubeflow.org cpu-ddp-tiny --namespace training"


def test_kubernetes(launch: Launching) -> None:
    noted = launch.fake_kubectl()
    result = launch("eks", "--preset", "tiny", info=cluster_info("eks"))
    assert result.exit_code == 0, result.output
    assert noted.read_text().splitlines() == [
        "config view --output json",
        f"{CONTEXT} --request-timeout=20s get {JOB} --ignore-not-found --output name",
        f"{CONTEXT} create -f -",
    ]
    submitted = yaml.safe_load(launch.submitted("yaml"))
    assert submitted["kind"] == "TrainJob"
    assert submitted["metadata"]["namespace"] == "training"
    chosen = "--namespace training --selector app.kubernetes.io/instance=cpu-ddp-tiny"
    for part in (
        "  where  eks 'demo-eks' in us-west-2, namespace 'training'\n",
        "  run    'cpu-ddp-tiny', the name of the job, in /fsx/runs/cpu-ddp\n",
        f"  how    kubectl {CONTEXT} create -f -\n",
        f"  kubectl {CONTEXT} get pods {chosen}\n",
        f"  kubectl {CONTEXT} logs {chosen} --follow --prefix --max-log-requests 2\n",
        "  --run-id cpu-ddp-tiny\n",
    ):
        assert part in result.output
    # The selector is right: pods of this very manifest carry the label.
    (patch,) = submitted["spec"]["runtimePatches"]
    (job,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    labels = job["template"]["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/instance"] == "cpu-ddp-tiny"


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_job_of_the_same_name_is_left_as_it_is(launch: Launching, dry: tuple[str, ...]) -> None:
    noted = launch.fake_kubectl(existing="trainjob.trainer.kubeflow.org/cpu-ddp-tiny\n")
    result = launch("eks", "--preset", "tiny", *dry, info=cluster_info("eks"))
    assert result.exit_code == (0 if dry else 2)
    assert (
        "there is a job 'cpu-ddp-tiny' already in namespace 'training', and it is left as it is"
        in result.output
    )
    assert f"'kubectl {CONTEXT} delete {JOB}', then launch again" in result.output
    assert "To start another beside it: another --run-id" in result.output
    assert "create" not in noted.read_text()


def test_a_job_that_came_in_between(launch: Launching) -> None:
    """Nobody had it when it was looked for, and kubectl refuses to create it."""
    refusal = 'Error from server (AlreadyExists): error when creating "STDIN": trainjobs already exists'
    launch.fake_kubectl()
    view = launch.programs / "view.json"
    launch.fake("kubectl", f"case $* in *view*) cat {view} ;; *create*) echo '{refusal}' >&2; exit 1 ;; esac")
    result = launch("eks", "--preset", "tiny", info=cluster_info("eks"))
    assert result.exit_code == 2
    assert "error: there is a job 'cpu-ddp-tiny' already" in result.stderr
    assert f"kubectl {CONTEXT} delete {JOB}" in result.stderr


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            'error: the server doesn\'t have a resource type "trainjob"',
            "the cluster has no kind TrainJob (trainer.kubeflow.org): its operator is not installed",
        ),
        ("The connection to the server x was refused", "The connection to the server x was refused"),
        ("error: You must be logged in to the server (Unauthorized)", "(Unauthorized)"),
    ],
)
def test_a_cluster_that_does_not_take_it(launch: Launching, error: str, message: str) -> None:
    launch.fake_kubectl()
    view = launch.programs / "view.json"
    noted = launch.fake("kubectl", f'case $* in *view*) cat {view} ;; *) echo "$SAID" >&2; exit 1 ;; esac')
    launch.setenv("SAID", error)
    result = launch("eks", "--preset", "tiny", info=cluster_info("eks"))
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.endswith("Nothing was submitted\n")
    assert "create" not in noted.read_text()


def test_a_user_who_may_create_but_not_get(launch: Launching) -> None:
    noted = launch.fake_kubectl()
    script = (launch.programs / "kubectl").read_text(encoding="utf-8")
    refused = '*" get "*) echo "Error from server (Forbidden): no" >&2; exit 1 ;;'
    (launch.programs / "kubectl").write_text(script.replace('case "$*" in', f'case "$*" in\n{refused}'))
    result = launch("eks", "--preset", "tiny", info=cluster_info("eks"))
    assert result.exit_code == 0, result.output
    assert noted.read_text().splitlines()[-1] == f"{CONTEXT} create -f -"


OTHER = EKS.replace("demo-eks", "other")
ELSEWHERE = EKS.replace("us-west-2", "us-east-1")
ANOTHER_ACCOUNT = EKS.replace("111122223333", "444455556666")


@pytest.mark.parametrize(
    ("clusters", "current", "given", "context"),
    [
        # By name and region, whatever is current.
        ((OTHER, EKS), "context-0", "", "context-1"),
        ((ELSEWHERE, EKS), "context-0", "demo-eks", "context-1"),
        ((OTHER, "demo-eks.us-west-2.eksctl.io"), "", "", "context-1"),
        # Another name than the cluster info's own: HyperPod's cluster is not its EKS cluster.
        ((EKS, OTHER), "", "other", "context-1"),
        # The account too, where the cluster info knows it.
        ((ANOTHER_ACCOUNT, EKS), "context-0", EKS, "context-1"),
        # Several that may be meant: the current one.
        ((ANOTHER_ACCOUNT, EKS), "context-1", "", "context-1"),
        ((EKS, EKS), "context-0", EKS, "context-0"),
    ],
)
def test_the_context_is_the_clusters_own(
    launch: Launching, clusters: tuple[str, ...], current: str, given: str, context: str
) -> None:
    noted = launch.fake_kubectl(*clusters, current=current)
    info = replace(cluster_info("eks"), kubernetes_cluster=given)
    result = launch("eks", "--preset", "tiny", info=info)
    assert result.exit_code == 0, result.output
    assert noted.read_text().splitlines()[-1] == f"--context {context} create -f -"


@pytest.mark.parametrize(
    ("clusters", "current", "given", "message"),
    [
        ((OTHER,), "context-0", "", "(the current one is 'context-0')"),
        ((ELSEWHERE,), "", "", "(none is current)"),
        ((ANOTHER_ACCOUNT,), "context-0", EKS, "none of kubectl's contexts is the EKS cluster 'demo-eks'"),
        (("demo-eks",), "context-0", "", "none of kubectl's contexts is the EKS cluster 'demo-eks'"),
        ((ANOTHER_ACCOUNT, EKS), "", "", "several of kubectl's contexts may be the EKS cluster 'demo-eks'"),
    ],
)
def test_no_context_of_the_cluster(
    launch: Launching, clusters: tuple[str, ...], current: str, given: str, message: str
) -> None:
    noted = launch.fake_kubectl(*clusters, current=current)
    info = replace(cluster_info("eks"), kubernetes_cluster=given)
    result = launch("eks", "--preset", "tiny", info=info)
    assert result.exit_code == 2
    assert message in result.stderr
    way_out = (
        "kubectl config use-context"
        if "several" in message
        else ("'aws eks update-kubeconfig --name demo-eks --region us-west-2' makes one")
    )
    assert way_out in result.stderr
    assert noted.read_text() == "config view --output json\n"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (
            ["--region", "us-west-2", "eks", "get-token", "--cluster-name", "demo-eks", "--output", "json"],
            True,
        ),
        (["token", "--region", "us-west-2", "-i", "demo-eks"], True),
        (["--region", "us-east-1", "eks", "get-token", "--cluster-name", "demo-eks"], False),
        (["--region", "us-west-2", "eks", "get-token", "--cluster-name", "demo-eks-2"], False),
    ],
)
def test_a_cluster_under_a_custom_name(launch: Launching, words: list[str], found: bool) -> None:
    """The command that gets its token names it."""
    launch.fake_kubectl("ours")
    file = launch.programs / "view.json"
    view = json.loads(file.read_text(encoding="utf-8"))
    view["users"] = [{"name": "me", "user": {"exec": {"command": "aws", "args": words}}}]
    file.write_text(json.dumps(view), encoding="utf-8")
    result = launch("eks", "--preset", "tiny", "--dry-run", info=cluster_info("eks"))
    assert result.exit_code == 0
    assert ("none of kubectl's contexts" in result.output) is not found


def test_an_empty_kubeconfig(launch: Launching) -> None:
    launch.fake_kubectl()
    (launch.programs / "view.json").write_text('{"contexts": null, "users": null, "current-context": ""}')
    result = launch("eks", info=cluster_info("eks"))
    assert result.exit_code == 2
    assert (
        "none of kubectl's contexts is the EKS cluster 'demo-eks' in us-west-2 (none is current)"
        in result.stderr
    )


def test_a_broken_kubeconfig(launch: Launching) -> None:
    launch.fake("kubectl", "echo 'error: error loading config file' >&2; exit 1")
    result = launch("eks", info=cluster_info("eks"))
    assert result.exit_code == 2
    assert (
        "'kubectl config view' does not show its contexts: error: error loading config file" in result.stderr
    )


def test_the_namespace_and_name_of_a_named_run(launch: Launching) -> None:
    launch.fake_kubectl()
    result = launch("eks", "--preset", "tiny", "--run-id", "b2", info=cluster_info("eks"))
    assert result.exit_code == 0, result.output
    submitted = yaml.safe_load(launch.submitted("yaml"))
    assert submitted["metadata"]["name"] == "cpu-ddp-tiny-b2"
    assert (
        "run    'b2', in /fsx/runs/cpu-ddp/b2; resumes from its last checkpoint, if it has one"
        in result.output
    )
    assert "--selector app.kubernetes.io/instance=cpu-ddp-tiny-b2" in result.output
