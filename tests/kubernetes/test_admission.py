"""One job of each shape: Kueue admits it, nothing of it is lost, and it is placed as its run and the info say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pytest
from kubernetes.utils.quantity import parse_quantity

from catalog.batch import shared_memory_mib
from catalog.cluster_kinds import KUBERNETES
from catalog.efa import efa_environment
from catalog.kubernetes import (
    EFA,
    GPU,
    HUGE_PAGES,
    INSTANCE_TYPE_LABEL,
    NEURON,
    POOL_LABEL,
    huge_pages_mib,
)
from tests.kubernetes.admitted import Admitted, admitted
from tests.kubernetes.conftest import Cluster
from tests.kubernetes.job_namespace import INSTANCE_GROUP
from tests.kubernetes.manifests import Case, shapes
from tests.kubernetes.plane.api import Document
from trainforge.eks.queues import requests
from workloads.launchers import RENDEZVOUS_PORT
from workloads.spec import Format, Run
from workloads.stage import TRAIN

ARRANGEMENTS = [(kind, queues) for queues in (True, False) for kind in KUBERNETES]
_SET_BY_THE_SHELL = {"HOSTNAME", "PATH", "TMPDIR", "UID"}
_RANK = {Format.TRAINJOB: "PET_NODE_RANK", Format.PYTORCHJOB: "RANK", Format.JOBSET: "JOB_COMPLETION_INDEX"}
_HOST = {Format.TRAINJOB: "PET_MASTER_ADDR", Format.PYTORCHJOB: "MASTER_ADDR"}
_PORT = {Format.TRAINJOB: "PET_MASTER_PORT", Format.PYTORCHJOB: "MASTER_PORT"}


@pytest.fixture(
    scope="module", params=ARRANGEMENTS, ids=lambda one: f"{one[0]}-{'queues' if one[1] else 'no-queues'}"
)
def jobs(request: pytest.FixtureRequest, eks_cluster: Cluster) -> Iterator[Admitted]:
    """Return jobs of all shapes on a kind of cluster, placed: through queues, or where there is no Kueue at all."""
    kind, queues = request.param
    name = f"shapes-{kind.replace('_', '-')}-{'queues' if queues else 'free'}"
    if queues:
        with admitted(eks_cluster.api, name, shapes(kind), cluster=kind, queues=True) as found:
            yield found
    else:
        with (
            eks_cluster.operators.without("kueue-manager"),
            admitted(eks_cluster.api, name, shapes(kind), cluster=kind, queues=False) as found,
        ):
            yield found


def test_kueue_makes_one_workload_of_a_job_and_keeps_it(jobs: Admitted) -> None:
    """Kueue recreates a Workload as long as it differs from its job: a default is missing in one of the two."""
    if not jobs.workloads:
        assert jobs.made == {}
        return
    owners = {f"{one['kind']} {one['metadata']['name']}" for one in jobs.manifests.values()}
    assert {owner: len(uids) for owner, uids in jobs.made.items()} == dict.fromkeys(owners, 1)
    kept = {one["metadata"]["uid"] for one in jobs.where.objects("kueue.x-k8s.io/v1beta2", "Workload")}
    assert kept == {uid for uids in jobs.made.values() for uid in uids}


def test_what_the_user_wrote_is_still_in_the_job(jobs: Admitted) -> None:
    """A controller that writes a job back drops the fields that its own types lack."""
    assert _problems(jobs, lambda case: lost(jobs.manifests[case], jobs.jobs[case])) == {}


def test_each_pod_has_a_node_of_the_runs_pool_of_its_own(jobs: Admitted) -> None:
    def check(case: Case) -> Iterator[str]:
        run, hyperpod = case.run, case.cluster == "hyperpod_eks"
        expected = {INSTANCE_TYPE_LABEL: f"ml.{run.instance_type}" if hyperpod else run.instance_type}
        expected[INSTANCE_GROUP if hyperpod else POOL_LABEL] = run.pool.name
        for labels in jobs.nodes_of(case):
            if not expected.items() <= labels.items():
                yield f"on {labels}"
        names = {one["spec"]["nodeName"] for one in jobs.pods[case]}
        if len(names) != run.nodes:
            yield f"{run.nodes} pods on {names}"

    assert _problems(jobs, check) == {}


def test_pods_ask_for_the_devices_of_the_type_and_fit_the_quota(jobs: Admitted) -> None:
    def check(case: Case) -> Iterator[str]:
        expected = devices(case.run)
        host = requests(jobs.where.pool(case.run.instance_type))
        whole = {**expected, "cpu": f"{host['cpu']}m", "memory": f"{host['memory']}Mi"}
        for head in jobs.heads[case]:
            # Beside the ranks of one node; every node leaves as much.
            share = _amounts(_container(head)["resources"]["requests"])
            left = {name: amount - share.get(name, 0) for name, amount in _amounts(whole).items()}
            asked = {name: left[name] for name in ("cpu", "memory")}
            whole |= {"cpu": str(asked["cpu"]), "memory": str(asked["memory"])}
        for pod in jobs.pods[case]:
            asked = _container(pod)["resources"]
            if _amounts(asked["requests"]) != _amounts(whole):
                yield f"{asked['requests']}, not {whole}"
            if _amounts(asked.get("limits", {})) != _amounts(expected):
                yield f"limits {asked.get('limits')}, not {expected}"

    assert _problems(jobs, check) == {}


def test_pods_have_the_cluster_infos_file_system_and_shared_memory(jobs: Admitted) -> None:
    def check(case: Case) -> Iterator[str]:
        info = case.info
        for pod in jobs.pods[case]:
            volumes = {one["name"]: one for one in pod["spec"]["volumes"]}
            mounted = {one["mountPath"]: volumes[one["name"]] for one in _container(pod)["volumeMounts"]}
            shared = mounted.get(info.shared_folder, {}).get("persistentVolumeClaim", {})
            if shared.get("claimName") != info.claim:
                yield f"{info.shared_folder} is {mounted.get(info.shared_folder)}"
            memory = mounted.get("/dev/shm", {}).get("emptyDir", {})
            size = parse_quantity(f"{shared_memory_mib(case.run.facts)}Mi")
            if memory.get("medium") != "Memory" or parse_quantity(memory["sizeLimit"]) != size:
                yield f"/dev/shm is {memory}"
            if any("kube-api-access" in name for name in volumes):
                yield "it has a token of Kubernetes"

    assert _problems(jobs, check) == {}


def test_pods_have_the_variables_of_the_run_and_its_secrets(jobs: Admitted) -> None:
    def check(case: Case) -> Iterator[str]:
        run = case.run
        for pod in jobs.pods[case]:
            env = {one["name"]: one for one in _container(pod)["env"]}
            named = value(pod, "RUN_ID")
            if named != (run.id or run.name):
                yield f"RUN_ID is {named}"
            for secret in run.workload.secrets:
                reference = env[secret.variable]["valueFrom"]["secretKeyRef"]
                expected = (case.info.secrets.get(secret.name, secret.name), not secret.required)
                if (reference["name"], reference.get("optional", False)) != expected:
                    yield f"{secret.variable} is {reference}"
            unknown = used(" ".join(_container(pod)["command"])) - set(env) - _SET_BY_THE_SHELL
            if unknown:
                yield f"its script uses {sorted(unknown)}, which nobody sets"

    assert _problems(jobs, check) == {}


def test_every_node_has_its_rank_and_the_address_of_rank_0(jobs: Admitted) -> None:
    """By the variables that the launcher's line names in this format, resolved as cluster DNS would."""

    def check(case: Case) -> Iterator[str]:
        if case.format_ in (Format.MPIJOB, Format.RAYJOB):
            return
        ranks = {value(pod, _RANK[case.format_]): pod for pod in jobs.pods[case]}
        if set(ranks) != {str(number) for number in range(case.run.nodes)}:
            yield f"ranks {sorted(ranks)}"
            return
        for pod in jobs.pods[case]:
            nodes, host, number = rendezvous(case, pod)
            if nodes != case.run.nodes:
                yield f"it takes the job for one of {nodes} nodes"
            first = resolved(jobs, host, pod)
            if first != [ranks["0"]["metadata"]["name"]]:
                yield f"{host} is {first}"
            declared = _ports(ranks["0"])
            if declared.get(number) != "TCP":
                yield f"port {number} is not among {declared}"
            if case.format_ is Format.PYTORCHJOB and number != RENDEZVOUS_PORT:
                yield f"the operator hands out port {number}"

    assert _problems(jobs, check) == {}


def test_the_ranks_of_ray_find_its_head(jobs: Admitted) -> None:
    cases = [case for case in jobs.manifests if case.format_ is Format.RAYJOB]
    assert cases

    def check(case: Case) -> Iterator[str]:
        heads = jobs.heads[case]
        if len(heads) != 1:
            yield f"{len(heads)} heads"
            return
        [head] = heads
        for pod in jobs.pods[case]:
            host = value(pod, "FQ_RAY_IP")
            found = jobs.services.get(host.partition(".")[0])
            labels = head["metadata"]["labels"]
            if found is None or not found["spec"]["selector"].items() <= labels.items():
                yield f"{host} is not the head"
            if f"--address={host}:" not in value(pod, "KUBERAY_GEN_RAY_START_CMD"):
                yield f"it starts as {value(pod, 'KUBERAY_GEN_RAY_START_CMD')}"

    assert {str(case): list(check(case)) for case in cases if list(check(case))} == {}


def test_mpirun_finds_every_node_by_the_operators_hostfile(jobs: Admitted) -> None:
    cases = [case for case in jobs.manifests if case.format_ is Format.MPIJOB]
    assert cases

    def check(case: Case) -> Iterator[str]:
        name = jobs.manifests[case]["metadata"]["name"]
        lines = jobs.configurations[f"{name}-config"]["data"]["hostfile"].split("\n")
        hosts = [line.split(" slots=") for line in lines if line]
        launcher = next(
            one for one in jobs.pods[case] if one["metadata"]["name"].startswith(f"{name}-launcher")
        )
        found = [resolved(jobs, host, launcher) for host, _ in hosts]
        names = sorted(one["metadata"]["name"] for one in jobs.pods[case])
        if sorted(one for pods in found for one in pods) != names or found[0] != [
            launcher["metadata"]["name"]
        ]:
            yield f"{hosts} are {found}, and the pods are {names}"
        if {slots for _, slots in hosts} != {str(case.run.ranks_per_node)}:
            yield f"{hosts}, and a node has {case.run.ranks_per_node} ranks"
        for pod in jobs.pods[case]:
            mounts = [one["mountPath"] for one in _container(pod)["volumeMounts"]]
            if "/root/.ssh" not in mounts:
                yield f"{pod['metadata']['name']} has no key"
            if pod is not launcher and _ports(pod).get(22) != "TCP":
                yield f"sshd's port is not among {_ports(pod)}"

    assert {str(case): list(check(case)) for case in cases if list(check(case))} == {}


def _problems(jobs: Admitted, check: Any) -> dict[str, list[str]]:
    """Return what is wrong by case; every case has all of its pods."""
    assert jobs.manifests
    found = {}
    for case in jobs.manifests:
        assert len(jobs.pods[case]) == case.run.nodes, f"{case}: {len(jobs.pods[case])} pods"
        wrong = list(check(case))
        if wrong:
            found[str(case)] = wrong
    return found


def devices(run: Run) -> dict[str, str]:
    """Return what a node of a run gives of devices and huge pages, by the catalog."""
    if not run.accelerated:
        return {}
    facts = run.facts
    found = {NEURON if facts.has_neuron else GPU: str(facts.accelerators)}
    if facts.efa_interfaces:
        found[EFA] = str(facts.efa_interfaces)
        if efa_environment(facts).get("FI_EFA_USE_HUGE_PAGE") != "0":
            found[HUGE_PAGES] = f"{huge_pages_mib(facts)}Mi"
    return found


def lost(written: Any, found: Any, path: str = "") -> list[str]:
    """Return the paths of what was written and is no longer so; more may be there, in lists too, in between."""
    if isinstance(written, Mapping):
        if not isinstance(found, Mapping):
            return [path]
        return [
            problem
            for name, one in written.items()
            for problem in (lost(one, found[name], f"{path}.{name}") if name in found else [f"{path}.{name}"])
        ]
    if isinstance(written, list):
        if not isinstance(found, list):
            return [path]
        rest = iter(found)
        # Each in its order; others may have been put between.
        return [
            f"{path}[{number}]"
            for number, one in enumerate(written)
            if not any(lost(one, candidate) == [] for candidate in rest)
        ]
    return [] if written == found or _equal(written, found) else [f"{path}: {written!r} is {found!r}"]


def _equal(written: Any, found: Any) -> bool:
    """Tell whether two texts are one quantity: Kueue writes 8192Mi back as 8Gi."""
    try:
        return bool(parse_quantity(written) == parse_quantity(found))
    except ValueError:
        return False


def rendezvous(case: Case, pod: Document) -> tuple[int, str, int]:
    """Return the number of nodes, and the host and port of rank 0, as a pod learns them."""
    if case.format_ is not Format.JOBSET:
        host, port = _HOST[case.format_], _PORT[case.format_]
        return int(value(pod, "PET_NNODES")), value(pod, host), int(value(pod, port))
    # JobSet tells none of them: they are in the script.
    name = value(pod, "JOBSET_NAME")
    script = " ".join(_container(pod)["command"])
    assert f"$JOBSET_NAME-{TRAIN}-0-0.$JOBSET_NAME" in script
    [nodes] = set(re.findall(r"--nodes=(\d+)", script))
    return int(nodes), f"{name}-{TRAIN}-0-0.{name}", RENDEZVOUS_PORT


def value(pod: Document, name: str) -> str:
    """Return a variable's value as the kubelet gives it to the container."""
    one = next((one for one in reversed(_container(pod)["env"]) if one["name"] == name), {})
    if "value" in one:
        return str(one["value"])
    path = one.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
    part = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
    return str(pod["metadata"][part[1]].get(part[2], "")) if part else ""


def used(script: str) -> set[str]:
    """Return the variables in capitals that a script reads and does not set."""
    read = set(re.findall(r"\$\{?([A-Z][A-Z0-9_]*)\b(?![^}]*:[-+])", script))
    read |= set(re.findall(r"\$\(\((?:[^)]*\$)?([A-Z][A-Z0-9_]*) \*", script))
    return read - set(re.findall(r"(?m)(?:export |read -r -d '' |^\s*)([A-Z][A-Z0-9_]*)(?:=| <<)", script))


def resolved(jobs: Admitted, host: str, asking: Document) -> list[str]:
    """Return the pods that a host name is the address of, as cluster DNS says it to a pod of the namespace."""
    namespace = asking["metadata"]["namespace"]
    parts = re.sub(rf"(\.{re.escape(namespace)}(\.svc(\.cluster\.local)?)?)?$", "", host).split(".")
    service = jobs.services.get(parts[-1])
    if service is None or service["spec"].get("clusterIP") != "None":
        return []
    selector = service["spec"]["selector"]
    pods = [
        one
        for pods in jobs.pods.values()
        for one in pods
        if selector.items() <= one["metadata"]["labels"].items()
    ]
    if len(parts) > 1:
        pods = [
            one for one in pods if (one["spec"].get("hostname"), one["spec"].get("subdomain")) == tuple(parts)
        ]
    return [one["metadata"]["name"] for one in pods]


def _container(pod: Document) -> Document:
    (container,) = pod["spec"]["containers"]
    return dict(container)


def _ports(pod: Document) -> dict[int, str]:
    return {one["containerPort"]: one["protocol"] for one in _container(pod).get("ports", ())}


def _amounts(resources: Mapping[str, str]) -> dict[str, Decimal]:
    """Return amounts as numbers: a server may write a quantity in another unit."""
    return {name: parse_quantity(amount) for name, amount in resources.items()}
