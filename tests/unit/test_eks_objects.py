"""Our Kubernetes objects on an EKS cluster: valid by Kubernetes' and the operators' own schemas, installed by Helm."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from catalog.cluster_info import ClusterInfo
from catalog.instances import INSTANCES
from catalog.job_queues import Queue
from catalog.kubernetes import BUCKET_CLAIM, GRACE_SECONDS, HUGE_PAGES, NETWORK_LAYER, SHARED_CLAIM
from catalog.operators import DEFINITIONS, MPIJOBS, PYTORCHJOBS
from catalog.pool import OnDemand, Pool
from tests.kubectl import require_helm
from tests.unit.manifest_checks import KUBERNETES, check_schema
from tests.unit.rendering import MPI, NEURON, TORCH, pods, read
from trainforge.eks.job_rbac import job_groups, job_rbac
from trainforge.eks.kuberay_operator import kuberay_operator
from trainforge.eks.mpi_operator import mpi_operator
from trainforge.eks.objects import CHART
from trainforge.eks.queues import (
    DEFAULT_QUEUE,
    flavor,
    kueue_objects,
    kueue_values,
    levels,
    requests,
)
from trainforge.eks.runtimes import RESTARTS, torch_runtimes
from trainforge.eks.training_operator import training_operator
from trainforge.eks.volumes import BucketVolume, LustreVolume, bucket, lustre, namespace
from workloads.fsdp.workload import WORKLOAD as FSDP
from workloads.grace import grace_seconds
from workloads.render.mpijob import mpijob
from workloads.render.pytorchjob import pytorchjob
from workloads.render.trainjob import trainjob
from workloads.restarts import MAX_RESTARTS
from workloads.spec import Run

ACCELERATED = sorted(name for name, facts in INSTANCES.items() if facts.is_accelerated)
FSX = LustreVolume("fs-0123456789abcdef0", "fs-0123.fsx.us-west-2.amazonaws.com", "abcd", SHARED_CLAIM)
S3 = BucketVolume("demo-data", "us-west-2", BUCKET_CLAIM)


def pool(instance_type: str, nodes: int = 3, name: str = "gpu", threads: int | None = None) -> Pool:
    return Pool(name, instance_type, nodes, "us-west-2a", OnDemand(), threads_per_core=threads)


POOLS = [pool("p5.48xlarge", 4), pool("trn2.48xlarge", 2, "trainium"), pool("c6i.4xlarge", 2, "cpu")]
QUEUES = [
    Queue("research", {"gpu": 3, "cpu": 2}),
    Queue("production", {"gpu": 1, "trainium": 2}, borrow=False),
]


def place() -> list[dict[str, Any]]:
    return [
        *namespace("training"),
        *job_rbac("training"),
        *lustre(FSX, deployment="demo", namespace_="training"),
        *bucket(S3, deployment="demo", namespace_="training"),
    ]


def queues() -> list[dict[str, Any]]:
    return kueue_objects(POOLS, QUEUES, namespace="training", cohort="demo")


def everything() -> list[dict[str, Any]]:
    operators = [*training_operator(), *mpi_operator(), *kuberay_operator()]
    return [*place(), *operators, *queues(), *torch_runtimes()]


def of_kind(documents: Iterable[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in documents if one["kind"] == kind}


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize(
    "document",
    [*place(), *training_operator(), *mpi_operator(), *kuberay_operator()],
    ids=lambda document: f"{document['kind']}-{document['metadata']['name']}",
)
def test_objects_are_kubernetes_own(document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize(
    "document", queues(), ids=lambda document: f"{document['kind']}-{document['metadata']['name']}"
)
def test_queues_are_kueue_s(document: dict[str, Any]) -> None:
    check_schema(document, "kueue.v1beta2.json")


@pytest.mark.parametrize("document", torch_runtimes(), ids=lambda document: document["metadata"]["name"])
def test_runtimes_are_trainer_s(document: dict[str, Any]) -> None:
    from kubeflow_trainer_api.models import TrainerV1alpha1ClusterTrainingRuntime

    model = TrainerV1alpha1ClusterTrainingRuntime.from_dict(document)
    assert model is not None
    assert model.to_dict() == document
    assert RESTARTS == MAX_RESTARTS, "other operators' jobs are started again as often"


def test_there_is_a_runtime_for_each_time_to_save() -> None:
    """A TrainJob cannot say so itself: Kueue 0.19 drops the field from its patch."""
    graces = {}
    for document in torch_runtimes():
        (job,) = document["spec"]["template"]["spec"]["replicatedJobs"]
        graces[document["metadata"]["name"]] = job["template"]["spec"]["template"]["spec"][
            "terminationGracePeriodSeconds"
        ]
    assert tuple(graces.values()) == GRACE_SECONDS
    assert next(iter(graces)) == "torch-distributed", "the name that Trainer's own documents use"
    for preset in FSDP.presets.values():
        one = Run.on_type(FSDP, preset, preset.instance_type, preset.nodes)
        for speed in (0, 300, 5000, 100_000):
            where = ClusterInfo.example("eks", ["fsdp"])
            where = replace(where, mounts=(replace(where.mounts[0], throughput_mbps=speed),))
            runtime = read(trainjob(one, where))["spec"]["runtimeRef"]["name"]
            assert graces[runtime] == grace_seconds(one, where)


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> str:
    return require_helm(tmp_path_factory.mktemp("helm"))


def run_helm(helm: str, *arguments: str) -> str:
    done = subprocess.run(
        [helm, *arguments], capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_helm_writes_the_objects_as_they_are(helm: str, tmp_path: Path) -> None:
    values = tmp_path / "values.json"
    values.write_text(json.dumps({"objects": everything()}), encoding="utf-8")
    run_helm(helm, "lint", "--strict", str(CHART), "--values", str(values))
    text = run_helm(
        helm, "template", "place", str(CHART), "--values", str(values), "--kube-version", "1.35.0"
    )
    written = [document for document in yaml.safe_load_all(text) if document]

    def named(document: dict[str, Any]) -> tuple[str, str, str]:
        metadata = document["metadata"]
        return document["kind"], metadata.get("namespace", ""), metadata["name"]

    assert sorted(written, key=named) == sorted(everything(), key=named)
    kinds = [document["kind"] for document in written]
    assert kinds.index("Namespace") < kinds.index("PersistentVolumeClaim")
    assert kinds.index("CustomResourceDefinition") < kinds.index("ClusterQueue")


def test_helm_refuses_what_is_no_object(helm: str, tmp_path: Path) -> None:
    values = tmp_path / "values.json"
    values.write_text(json.dumps({"objects": [{"kind": "Namespace"}]}), encoding="utf-8")
    done = subprocess.run(
        [helm, "template", "place", str(CHART), "--values", str(values)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode != 0
    assert "apiVersion" in done.stderr


# Volumes


def test_a_claim_binds_the_one_volume_that_is_its_own() -> None:
    volumes, claims = of_kind(place(), "PersistentVolume"), of_kind(place(), "PersistentVolumeClaim")
    assert set(claims) == {SHARED_CLAIM, BUCKET_CLAIM}
    for name, claim in claims.items():
        volume = volumes[claim["spec"]["volumeName"]]["spec"]
        assert volume["claimRef"] == {"namespace": "training", "name": name}
        assert volume["storageClassName"] == claim["spec"]["storageClassName"] == ""
        assert volume["accessModes"] == claim["spec"]["accessModes"]
        assert volume["capacity"]["storage"] == claim["spec"]["resources"]["requests"]["storage"]
        assert volume["persistentVolumeReclaimPolicy"] == "Retain", "data is not the cluster's"


def test_manifests_claim_what_is_there() -> None:
    info = ClusterInfo.example("eks", ["torch-sample"])
    document = read(trainjob(Run.on_type(TORCH, TORCH.reference, "p5.48xlarge", 2), info))
    text = json.dumps(document)
    assert f'"claimName": "{SHARED_CLAIM}"' in text
    assert document["metadata"]["namespace"] == next(iter(of_kind(place(), "Namespace")))


def test_the_default_namespace_is_not_made() -> None:
    assert namespace("default") == []


# Queues


@pytest.mark.parametrize("name", ACCELERATED)
def test_a_pool_s_quota_is_what_its_nodes_give_to_our_manifests(name: str) -> None:
    facts = INSTANCES[name]
    workload = NEURON if facts.has_neuron else TORCH
    for threads in {None, *facts.valid_threads_per_core}:
        mine = pool(name, 3, threads=threads)
        run = Run(workload, workload.reference, mine, 3)
        document = read(trainjob(run, ClusterInfo.example("eks", [workload.name])))
        asked = document["spec"]["trainer"]["resourcesPerNode"]["requests"]
        given = requests(mine)
        assert {key: f"{value}m" for key, value in given.items() if key == "cpu"} == {"cpu": asked["cpu"]}
        assert {
            key: f"{value}Mi" if key in ("memory", HUGE_PAGES) else str(value)
            for key, value in given.items()
            if key != "cpu"
        } == {key: value for key, value in asked.items() if key != "cpu"}
        found = of_kind(
            kueue_objects([mine], [Queue("all", {mine.name: 3})], namespace="n", cohort="c"), "ClusterQueue"
        )
        ((group,), (only,)) = ((found["all"]["spec"]["resourceGroups"]), tuple(found))
        assert only == "all"
        quotas = {one["name"]: one["nominalQuota"] for one in group["flavors"][0]["resources"]}
        assert quotas["cpu"] == f"{given['cpu'] * 3}m"
        assert set(quotas) == set(asked)


def test_a_job_fits_its_own_pool_s_flavor_and_no_other() -> None:
    flavors = of_kind(queues(), "ResourceFlavor")
    for mine in POOLS:
        workload = MPI
        document = read(
            mpijob(
                Run.on_type(workload, workload.reference, mine.instance_type, 2),
                ClusterInfo.example("eks", [workload.name]),
            )
        )
        for _, template in pods(document):
            selector = template["spec"]["nodeSelector"]
            fitting = [
                name
                for name, one in flavors.items()
                if all(one["spec"]["nodeLabels"].get(key, value) == value for key, value in selector.items())
            ]
            assert fitting == [flavor(mine)]


def test_every_flavor_states_every_resource_in_the_group_s_order() -> None:
    for queue in of_kind(queues(), "ClusterQueue").values():
        for group in queue["spec"]["resourceGroups"]:
            for one in group["flavors"]:
                assert [resource["name"] for resource in one["resources"]] == group["coveredResources"]


def test_shares_and_borrowing() -> None:
    found = of_kind(queues(), "ClusterQueue")
    research, production = found["research"]["spec"], found["production"]["spec"]
    gpus = {
        name: [
            resource["nominalQuota"]
            for one in spec["resourceGroups"][0]["flavors"]
            for resource in one["resources"]
            if one["name"] == flavor(POOLS[0]) and resource["name"] == "nvidia.com/gpu"
        ]
        for name, spec in (("research", research), ("production", production))
    }
    assert gpus == {"research": ["24"], "production": ["8"]}
    assert research["cohortName"] == "demo"
    assert research["preemption"]["reclaimWithinCohort"] == "Any"
    assert "cohortName" not in production
    names = [one["name"] for one in production["resourceGroups"][0]["flavors"]]
    assert names == [flavor(POOLS[0]), flavor(POOLS[1])], "of a pool without a share it has nothing to take"


def test_jobs_that_name_no_queue_go_to_the_first() -> None:
    local = of_kind(queues(), "LocalQueue")
    assert set(local) == {DEFAULT_QUEUE, "research", "production"}
    assert local[DEFAULT_QUEUE]["spec"]["clusterQueue"] == "research"
    named = kueue_objects(
        POOLS, [Queue("other", {"cpu": 1}), Queue("default", {"gpu": 1})], namespace="n", cohort="c"
    )
    assert of_kind(named, "LocalQueue")["default"]["spec"]["clusterQueue"] == "default"


@pytest.mark.parametrize(
    ("name", "layers"), [("p5.48xlarge", 3), ("p6-b200.48xlarge", 4), ("trn2.48xlarge", 3), ("g5.8xlarge", 0)]
)
def test_levels_are_ec2_s_layers_and_then_the_node(name: str, layers: int) -> None:
    assert levels(INSTANCES[name]) == [
        *(f"{NETWORK_LAYER}{layer}" for layer in range(1, layers + 1)),
        "kubernetes.io/hostname",
    ]


def test_every_flavor_s_topology_is_there_with_its_own_levels() -> None:
    topologies = of_kind(queues(), "Topology")
    flavors = of_kind(queues(), "ResourceFlavor")
    for mine in POOLS:
        topology = topologies[flavors[flavor(mine)]["spec"]["topologyName"]]
        labels = [level["nodeLabel"] for level in topology["spec"]["levels"]]
        assert labels == levels(INSTANCES[mine.instance_type])


def test_kueue_manages_what_the_cluster_has() -> None:
    values = kueue_values(["batch/job", "kubeflow.org/mpijob"])
    configuration = yaml.safe_load(values["managerConfig"]["controllerManagerConfigYaml"])
    assert configuration["kind"] == "Configuration"
    assert configuration["integrations"]["frameworks"] == ["batch/job", "kubeflow.org/mpijob"]
    # Without it nothing deletes the pods of a lost node. Kueue refuses gates in both places.
    assert values["controllerManager"]["featureGates"] == [{"name": "FailureRecoveryPolicy", "enabled": True}]
    assert "featureGates" not in configuration


def test_flavors_leave_a_job_the_tolerations_of_its_own() -> None:
    """A TrainJob gets the flavor's by a patch of Kueue's, which may replace the list of the job's own."""
    for mine in POOLS:
        run = Run.on_type(TORCH, TORCH.reference, mine.instance_type, 2)
        (_, pod), *_ = pods(read(trainjob(run, INFO)))
        found = of_kind(queues(), "ResourceFlavor")[flavor(mine)]["spec"]["tolerations"]
        assert [one for one in pod["spec"]["tolerations"] if one not in found] == []


# Operators


def test_each_operator_defines_its_own_kind_and_no_other() -> None:
    assert list(of_kind(training_operator(), "CustomResourceDefinition")) == [PYTORCHJOBS]
    assert list(of_kind(mpi_operator(), "CustomResourceDefinition")) == [MPIJOBS]
    assert tuple(of_kind(kuberay_operator(), "CustomResourceDefinition")) == DEFINITIONS["kuberay"]


def test_the_training_operator_s_other_schemes_are_off() -> None:
    (deployment,) = of_kind(training_operator(), "Deployment").values()
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["args"][0] == "--enable-scheme=pytorchjob"


def test_workers_wait_in_no_third_party_image() -> None:
    """The operator's default is alpine:3.10 of Docker Hub; an empty list of init containers is nothing to pull."""
    (deployment,) = of_kind(training_operator(), "Deployment").values()
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (word,) = [
        word for word in container["args"] if word.startswith("--pytorch-init-container-template-file=")
    ]
    path = Path(word.partition("=")[2])
    (mount,) = [one for one in container["volumeMounts"] if one["mountPath"] == str(path.parent)]
    (volume,) = [one for one in pod["volumes"] if one["name"] == mount["name"]]
    written = of_kind(training_operator(), "ConfigMap")[volume["configMap"]["name"]]
    assert yaml.safe_load(written["data"][path.name]) == []


@pytest.mark.parametrize(
    ("documents", "open_ports"),
    [(training_operator(), [9443]), (mpi_operator(), []), (kuberay_operator(), [])],
    ids=["training", "mpi", "kuberay"],
)
def test_operators_have_no_more_of_a_node_than_they_need(
    documents: list[dict[str, Any]], open_ports: list[int]
) -> None:
    (deployment,) = of_kind(documents, "Deployment").values()
    template = deployment["spec"]["template"]
    pod = template["spec"]
    (container,) = pod["containers"]
    # Neither image names a user, and Kubernetes refuses to start root with runAsNonRoot alone.
    assert pod["securityContext"] == {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["resources"]["limits"] == {"memory": "1Gi"}
    for probe in ("livenessProbe", "readinessProbe"):
        port = container[probe]["httpGet"]["port"]
        named = {one["name"]: one["containerPort"] for one in container["ports"]}
        # The training operator's and KubeRay's are on ports of their own; the MPI operator serves /healthz on 8080.
        assert (named.get(port, port), container[probe]["httpGet"]["path"]) in {
            (8081, "/healthz"),
            (8081, "/readyz"),
            (8080, "/healthz"),
            (8082, "/healthz"),
            (8082, "/readyz"),
        }
    (policy,) = of_kind(documents, "NetworkPolicy").values()
    assert policy["metadata"]["namespace"] == deployment["metadata"]["namespace"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]] == open_ports


@pytest.mark.parametrize(
    "documents",
    [training_operator(), mpi_operator(), kuberay_operator()],
    ids=["training", "mpi", "kuberay"],
)
def test_operators_have_no_right_to_everything_and_are_who_they_are_bound_to(
    documents: list[dict[str, Any]],
) -> None:
    ((name, role),) = of_kind(documents, "ClusterRole").items()
    assert "*" not in json.dumps(role["rules"])
    (binding,) = of_kind(documents, "ClusterRoleBinding").values()
    (account,) = of_kind(documents, "ServiceAccount").values()
    assert binding["roleRef"]["name"] == name
    assert binding["subjects"] == [
        {
            "kind": "ServiceAccount",
            "name": account["metadata"]["name"],
            "namespace": account["metadata"]["namespace"],
        }
    ]
    (deployment,) = of_kind(documents, "Deployment").values()
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == account["metadata"]["name"]


@pytest.mark.parametrize(("policy", "submits"), [("admin", True), ("edit", True), ("view", False)])
def test_principals_with_an_eks_policy_see_jobs_and_editors_submit_them(policy: str, submits: bool) -> None:
    """EKS's own policies know none of these kinds (Review access policy permissions)."""
    documents = job_rbac("training")
    assert {one["metadata"]["namespace"] for one in documents} == {"training"}
    (group,) = job_groups(policy)
    (bound,) = [
        one["roleRef"]["name"]
        for one in of_kind(documents, "RoleBinding").values()
        if [subject["name"] for subject in one["subjects"]] == [group]
    ]
    rules = of_kind(documents, "Role")[bound]["rules"]
    verbs = {
        (group, kind): one["verbs"]
        for one in rules
        for group in one["apiGroups"]
        for kind in one["resources"]
    }
    for manifest in (trainjob, pytorchjob, mpijob):
        document = read(
            manifest(
                Run.on_type(MPI if manifest is mpijob else TORCH, TORCH.reference, "p5.48xlarge", 2), INFO
            )
        )
        kind = (document["apiVersion"].partition("/")[0], f"{document['kind'].lower()}s")
        assert {"get", "list", "watch"} <= set(verbs[kind])
        assert ({"create", "delete"} <= set(verbs[kind])) == submits
    assert {"get", "list", "watch"} <= set(verbs["ray.io", "rayjobs"])
    assert ("create" in verbs["ray.io", "rayjobs"]) == submits
    assert "create" not in verbs["ray.io", "rayclusters"], "a cluster of one's own would be in no queue"
    assert "create" not in verbs["kueue.x-k8s.io", "workloads"], "what Kueue makes is Kueue's"


def test_cluster_admins_need_no_group() -> None:
    assert job_groups("cluster-admin") == ()


INFO = ClusterInfo.example("eks", [MPI.name, TORCH.name])


@pytest.mark.parametrize(
    ("documents", "text", "replicas", "first"),
    [
        (
            mpi_operator(),
            mpijob(Run.on_type(MPI, MPI.reference, "p5.48xlarge", 2), INFO),
            "mpiReplicaSpecs",
            "Launcher",
        ),
        (
            training_operator(),
            pytorchjob(Run.on_type(TORCH, TORCH.reference, "p5.48xlarge", 2), INFO),
            "pytorchReplicaSpecs",
            "Master",
        ),
    ],
    ids=["mpi", "training"],
)
def test_jobs_of_ours_pass_the_operator_s_definition(
    documents: list[dict[str, Any]], text: str, replicas: str, first: str
) -> None:
    (definition,) = of_kind(documents, "CustomResourceDefinition").values()
    (version,) = definition["spec"]["versions"]
    document = read(text)
    assert document["apiVersion"] == f"kubeflow.org/{version['name']}"
    validator = jsonschema.Draft202012Validator(version["schema"]["openAPIV3Schema"])
    validator.validate(document)
    del document["spec"][replicas][first]["template"]
    with pytest.raises(jsonschema.ValidationError, match="template"):
        validator.validate(document)
