"""Every rendered manifest is taken by the API server and by the webhooks of the real operators, from an editor."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from catalog.cluster_kinds import KUBERNETES
from tests.kubernetes.conftest import Cluster
from tests.kubernetes.manifests import PUBLIC, Case, every_case
from tests.kubernetes.plane.api import Api, Document, Refused
from tests.kubernetes.releases import releases
from tests.synthesis import Synthesis
from trainforge.eks.job_rbac import job_groups
from workloads.spec import Format

THREADS = 3
QUEUE = "kueue.x-k8s.io/queue-name"


@pytest.fixture(scope="module")
def hyperpod_namespace(eks_cluster: Cluster, synthesis: Callable[[str], Synthesis]) -> Iterator[None]:
    """Make the namespace of HyperPod's stack on the cluster, with its rights and volumes."""
    template = synthesis("config/hyperpod-eks.yaml").templates["HyperPodEksStack"]
    (place,) = (one for one in releases(template) if one.name.endswith("-namespace"))
    eks_cluster.api.apply_all(place.documents)
    yield
    for one in reversed(place.documents):
        eks_cluster.api.delete(
            one["apiVersion"],
            one["kind"],
            one["metadata"]["name"],
            namespace=one["metadata"].get("namespace", ""),
        )


@pytest.mark.parametrize("format_", PUBLIC, ids=str)
@pytest.mark.parametrize("cluster", KUBERNETES)
@pytest.mark.usefixtures("hyperpod_namespace")
def test_an_editor_may_create_every_manifest(eks_cluster: Cluster, cluster: str, format_: Format) -> None:
    """A dry run on the server: defaults, every webhook, and unknown fields refused; nothing is stored."""
    cases = list(every_case(cluster, format_))
    answers = dry_runs(eks_cluster.api, cases)
    refused = {str(case): str(answer) for case, answer in answers.items() if isinstance(answer, Refused)}
    assert refused == {}
    # The stack's queues are in the namespace of EKS's jobs: there Kueue's webhook holds every job for the first one.
    queues = {
        answer["metadata"]["labels"].get(QUEUE) for answer in answers.values() if isinstance(answer, dict)
    }
    assert queues == ({"default"} if cluster == "eks" else {None})
    # One workload of the repository is a RayJob, and it runs on GPUs alone.
    assert len(answers) == len(cases) > (40 if format_ is Format.RAYJOB else 100)


@pytest.mark.usefixtures("hyperpod_namespace")
def test_what_the_operators_webhooks_refuse_is_refused(eks_cluster: Cluster) -> None:
    """Were a webhook not asked, every manifest would pass."""
    trainjob = next(every_case("eks", Format.TRAINJOB)).document
    trainjob["spec"]["runtimePatches"][0]["manager"] = "trainforge"
    pytorchjob = next(every_case("eks", Format.PYTORCHJOB)).document
    pytorchjob["spec"]["pytorchReplicaSpecs"]["Master"]["replicas"] = 2
    mpijob = next(every_case("eks", Format.MPIJOB)).document
    mpijob["spec"]["mpiImplementation"] = "MVAPICH"
    api = editor(eks_cluster.api)
    with pytest.raises(Refused, match="must be a domain-prefixed path"):
        api.create(trainjob, dry_run=True)
    with pytest.raises(Refused, match="must be 1"):
        api.create(pytorchjob, dry_run=True)
    with pytest.raises(Refused, match="Unsupported value"):
        api.create(mpijob, dry_run=True)


def editor(api: Api) -> Api:
    """Return a client of a member of the editors' group, who is no administrator."""
    (group,) = job_groups("edit")
    return api.acting_as("erin", group)


def dry_runs(api: Api, cases: list[Case]) -> dict[Case, Document | Refused]:
    """Return what the server answers to each manifest, asked by a few clients at a time."""
    local = threading.local()

    def ask(case: Case) -> Document | Refused:
        if not hasattr(local, "api"):
            local.api = editor(api)
        try:
            answer: Document = local.api.create(case.document, dry_run=True)
        except Refused as refusal:
            return refusal
        return answer

    with ThreadPoolExecutor(THREADS) as threads:
        return dict(zip(cases, threads.map(ask, cases), strict=True))
