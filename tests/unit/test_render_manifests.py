"""Kubernetes manifests hold up against the models and schemas of those who read them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import jinja2
import jsonschema
import pytest

from tests.admission import ports_without_protocol, refusals
from tests.unit.manifest_checks import (
    KUBERNETES,
    SCHEMAS,
    built,
    check_pods,
    check_pytorchjob,
    check_schema,
    check_trainjob,
    schema,
)
from tests.unit.rendering import Case, cases, pods, read
from workloads.spec import Format

# One type for each way that pods differ: many EFA, one, none; GPUs of either make of machine; Neuron; processors.
TYPES = (
    "p5.48xlarge",
    "p6-b300.48xlarge",
    "p6e-gb200.36xlarge",
    "g5.8xlarge",
    "g4dn.xlarge",
    "trn1.32xlarge",
    "trn1.2xlarge",
    "m5.2xlarge",
    "c6i.32xlarge",
)
CASES = cases(TYPES, nodes=(1, 4))


def of(format_: Format) -> list[Case]:
    return [case for case in CASES if case.format_ is format_]


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_pods_are_valid_kubernetes(case: Case, version: str) -> None:
    check_pods(case.document, case.run.name, version)


@pytest.mark.parametrize("case", of(Format.PYTORCHJOB), ids=str)
def test_the_training_operators_own_client_takes_a_pytorchjob(case: Case) -> None:
    check_pytorchjob(case.document)


@pytest.mark.parametrize("case", of(Format.TRAINJOB), ids=str)
def test_trainers_own_models_take_a_trainjob_and_drop_nothing(case: Case) -> None:
    check_trainjob(case.document)


@pytest.mark.parametrize("format_", [Format.TRAINJOB, Format.PYTORCHJOB, Format.MPIJOB], ids=str)
def test_operators_admit_what_is_rendered(format_: Format) -> None:
    assert {str(case): refusals(case.document) for case in of(format_) if refusals(case.document)} == {}


@pytest.mark.parametrize(
    ("format_", "path", "value", "words"),
    [
        (Format.TRAINJOB, ("metadata", "name"), "1st", "DNS label"),
        (Format.TRAINJOB, ("spec", "runtimePatches", 0, "manager"), "trainforge", "domain-prefixed path"),
        (
            Format.TRAINJOB,
            ("spec", "runtimePatches", 0, "manager"),
            "Trainforge/launch",
            "domain-prefixed path",
        ),
        (Format.TRAINJOB, ("spec", "trainer", "env", 0, "name"), "PET_NNODES", "is Trainer's"),
        (Format.PYTORCHJOB, ("spec", "pytorchReplicaSpecs", "Master", "replicas"), 2, "must be 1"),
        (Format.PYTORCHJOB, ("spec", "pytorchReplicaSpecs", "Worker", "replicas"), 0, "at least 1"),
        (Format.MPIJOB, ("metadata", "name"), "a" * 60, "DNS label"),
        (Format.MPIJOB, ("spec", "sshAuthMountPath"), "", "sshAuthMountPath"),
        (Format.MPIJOB, ("spec", "mpiReplicaSpecs", "Launcher", "restartPolicy"), "Always", "restartPolicy"),
    ],
)
def test_operators_refuse_what_breaks_their_rules(
    format_: Format, path: tuple[str | int, ...], value: object, words: str
) -> None:
    document = of(format_)[-1].document
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert any(words in refusal for refusal in refusals(document))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_ports_name_their_protocol(case: Case) -> None:
    """A default that one definition sets and another does not makes Kueue treat a job as changed again and again."""
    assert ports_without_protocol(case.document) == []


@pytest.mark.parametrize("case", of(Format.TRAINJOB), ids=str)
def test_a_trainjob_patches_only_what_trainer_2_2_knows(case: Case) -> None:
    """Kueue 0.19 writes a TrainJob back with the types of Trainer 2.2.1, and drops other fields."""
    (patch,) = case.document["spec"]["runtimePatches"]
    (job,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod = job["template"]["spec"]["template"]["spec"]
    # trainer 2.2.1, trainjob_types.go: PodSpecPatch and ContainerPatch, as far as renderers use them.
    assert set(pod) <= {"nodeSelector", "affinity", "tolerations", "volumes", "containers"}
    assert {key for one in pod["containers"] for key in one} <= {"name", "volumeMounts", "securityContext"}


@pytest.mark.parametrize(
    ("format_", "name"),
    [
        (Format.MPIJOB, "mpijob.v2beta1.json"),
        (Format.RAYJOB, "rayjob.v1.json"),
        (Format.HYPERPODPYTORCHJOB, "hyperpodpytorchjob.v1.json"),
    ],
    ids=str,
)
def test_objects_without_a_model_match_our_schema(format_: Format, name: str) -> None:
    for case in of(format_):
        check_schema(case.document, name)


def test_our_schema_of_a_hyperpod_job_takes_what_awss_own_template_writes() -> None:
    """Were it narrower than the real one, it would prove nothing."""
    found = importlib.util.find_spec("hyperpod_pytorch_job_template")
    assert found is not None
    assert found.submodule_search_locations
    template = Path(found.submodule_search_locations[0]) / "v1_1" / "template.py"
    content: dict[str, str] = {}
    # The package itself asks for the SageMaker SDK; its template is one string.
    exec(compile(template.read_text(encoding="utf-8"), template.name, "exec"), content)
    text = jinja2.Template(content["TEMPLATE_CONTENT"]).render(
        job_name="sample",
        namespace="training",
        image="registry.example/sample:1",
        command=["hyperpodrun"],
        replica_count=4,
        tasks_per_node=8,
        instance_type="ml.p5.48xlarge",
        accelerators=8,
        accelerators_limit=8,
        efa=32,
        efa_limit=32,
        max_retry=3,
        volume=[{"name": "data", "type": "pvc", "mount_path": "/fsx", "claim_name": "fsx-claim"}],
    )
    theirs = read(text)
    jsonschema.Draft202012Validator(schema("hyperpodpytorchjob.v1.json")).validate(theirs)
    (ours,) = (
        case for case in of(Format.HYPERPODPYTORCHJOB) if "torch-sample-hyperpodpytorchjob-4xp5" in str(case)
    )
    for part in ("apiVersion", "kind"):
        assert ours.document[part] == theirs[part]
    ((count, their_pod),) = pods(theirs)
    ((our_count, our_pod),) = pods(ours.document)
    assert our_count == count
    their_container, our_container = their_pod["spec"]["containers"][0], our_pod["spec"]["containers"][0]
    their_limits = {name: str(amount) for name, amount in their_container["resources"]["limits"].items()}
    assert their_limits == our_container["resources"]["limits"]
    assert their_pod["spec"]["nodeSelector"].items() <= our_pod["spec"]["nodeSelector"].items()


@pytest.mark.parametrize("name", sorted(path.name for path in SCHEMAS.glob("*job.*.json")))
def test_our_schemas_refuse_a_misspelt_field_at_every_level(name: str) -> None:
    (format_,) = (known for known in Format if name.startswith(f"{known}."))
    validator = jsonschema.Draft202012Validator(schema(name))
    case = of(format_)[-1]
    inner = "rayClusterSpec" if format_ is Format.RAYJOB else "runPolicy"
    for path in ((), ("spec",), ("spec", inner)):
        document = case.document
        level = document
        for part in path:
            level = level[part]
        level["mispelt"] = 1
        assert not validator.is_valid(document), path


def test_a_misspelt_field_is_refused_by_the_clients_models() -> None:
    from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob

    (case, *_) = of(Format.PYTORCHJOB)
    document = case.document
    document["spec"]["runPolicy"]["backofLimit"] = 1
    with pytest.raises(AssertionError, match="does not know \\['backofLimit'\\]"):
        built("KubeflowOrgV1PyTorchJob", document)
    (case, *_) = of(Format.TRAINJOB)
    document = case.document
    document["spec"]["trainer"]["numNode"] = 1
    job = TrainerV1alpha1TrainJob.from_dict(document)
    assert job is not None
    assert job.to_dict() != document
