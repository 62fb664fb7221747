"""Updates of a cluster's objects from each configuration to each other, as Helm applies them.

What Kubernetes or Helm refuses, and what ends jobs, is what `trainforge validate --against` says: no less, and no more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
import yaml

from settings.deployed import Deployed
from settings.deployment import Settings
from settings.rules import check
from tests.kubernetes.combinations import ACCESS, POOLS, configuration, hyperpod_eks, queues
from tests.kubernetes.object_sets import delete_all
from tests.kubernetes.plane.api import Api, Document, Refused
from tests.kubernetes.plane.operators import in_helm_order
from tests.kubernetes.releases import ASSET_CHARTS, Release, releases
from tests.synthesis import Synthesis

EKS, HYPERPOD = "EksStack", "HyperPodEksStack"
HYPERPOD_CHART = "Custom::TrainforgeHyperPodChart"
HELM = "helm"
"""The name by which Helm manages fields (helm 4)."""

BOTH = ["cpu", "gpu"]
ALL = "jobs: [trainer, training-operator, mpi-operator, kuberay]"
FIRST_OTHER = "queues: {other: {nodes: {cpu: 1, gpu: 1}}, research: {nodes: {cpu: 1, gpu: 1}}}"
SHARES = (
    "queues: {research: {nodes: {cpu: 2}, borrow: false}, new: {nodes: {gpu: 2}}, last: {nodes: {cpu: 0}}}"
)


def lustre(**given: object) -> str:
    return f"storage: {{lustre: {json.dumps(given)}}}"


def existing(file_system: str, mount: str) -> str:
    return lustre(existing={"file_system_id": f"fs-0123456789abcdef{file_system}", "mount_name": mount})


def state(
    software: str, *, namespace: str = "training", storage: str = lustre(capacity_gib=1200), **types: str
) -> str:
    """Return a configuration of one EKS cluster; `types` are other instance types of pools."""
    text = configuration(
        f"eks: {{pools: [{', '.join(BOTH)}], {ACCESS}, namespace: {namespace}, software: {{{software}}}}}",
        pools=BOTH,
        storage=storage,
    )
    for pool, instance_type in types.items():
        before = yaml.safe_load(POOLS[pool])["instance_type"]
        text = text.replace(before, instance_type)
    return text


EKS_STATES: Mapping[str, str] = {
    "all operators, queues": state(f"{ALL}, {queues(BOTH)}"),
    "no queues, a larger Lustre": state(ALL, storage=lustre(capacity_gib=4800)),
    "another first queue": state(f"{ALL}, {FIRST_OTHER}"),
    "other shares and types, no bucket": state(
        f"{ALL}, bucket_claim: false, {SHARES}", cpu="c6i.8xlarge", gpu="g5.8xlarge"
    ),
    "another namespace, queues": state(f"{ALL}, {queues(BOTH)}", namespace="research"),
    "another namespace, Trainer alone": state("jobs: [trainer]", namespace="research"),
    "an existing Lustre": state(f"jobs: [mpi-operator], {queues(BOTH)}", storage=existing("0", "abcdefgh")),
    "the existing Lustre, mounted by another name": state(
        "jobs: [training-operator, mpi-operator]", storage=existing("0", "hgfedcba")
    ),
    "no operators, no storage": state("jobs: []", storage=""),
}


def hyperpod_state(more: str, *, storage: str = lustre(capacity_gib=1200)) -> str:
    """Return a configuration of one HyperPod EKS cluster; its add-on for HyperPodPyTorchJobs is never there."""
    return configuration(
        hyperpod_eks(BOTH, more=f"training_operator: false, {more}"), pools=BOTH, storage=storage
    )


HYPERPOD_STATES: Mapping[str, str] = {
    "HyperPod with all operators": hyperpod_state("trainer: true, jobs: [kuberay]"),
    "HyperPod without operators, a larger Lustre, no bucket": hyperpod_state(
        "trainer: false, bucket_claim: false, dependencies: {training_operator: false, mpi_operator: false}",
        storage=lustre(capacity_gib=4800),
    ),
    "HyperPod in another namespace, an existing Lustre": hyperpod_state(
        "namespace: hyperpod-research, dependencies: {mpi_operator: false}",
        storage=existing("0", "abcdefgh"),
    ),
    "HyperPod in that namespace, the Lustre mounted by another name": hyperpod_state(
        "namespace: hyperpod-research, trainer: false", storage=existing("0", "hgfedcba")
    ),
}

STATES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    name: (stack, states)
    for stack, states in ((EKS, EKS_STATES), (HYPERPOD, HYPERPOD_STATES))
    for name in states
}
"""The stack of each state, and the states that it can be brought to."""

RULES = {
    "LocalQueue is immutable": {"update-moves-default-queue"},
    "objects of another release": {"update-moves-queues"},
    "PersistentVolume is immutable": {"update-replaces", "update-changes-volume"},
    "jobs end": {"update-ends-jobs"},
}
"""The rules of `validate --against` by what an update does; one of them is enough."""

OF_DATA = {"update-deletes", "update-refused", "update-replaces"}
"""Rules on what file systems and networks allow, independent of Kubernetes."""


@dataclass(frozen=True)
class Objects:
    """The objects of a state by kind, namespace and name, each with its release; and the charts of others.

    A part of HyperPod's chart that its values install counts as a chart.
    """

    of: dict[tuple[str, str, str], tuple[Release, Document]] = field(default_factory=dict)
    charts: frozenset[str] = frozenset()

    @classmethod
    def read(cls, synthesis: Synthesis, stack: str) -> Objects:
        found = {}
        ordered = releases(synthesis.templates[stack])
        for release in ordered:
            for one in release.documents:
                metadata = one["metadata"]
                found[one["kind"], metadata.get("namespace", ""), metadata["name"]] = (release, one)
        parts = {
            name
            for resource in synthesis.templates[stack]["Resources"].values()
            if resource["Type"] == HYPERPOD_CHART
            for name, values in json.loads(resource["Properties"]["Values"]).items()
            if values.get("enabled")
        }
        return cls(found, frozenset(one.name for one in ordered if one.name in ASSET_CHARTS) | parts)

    def documents(self) -> list[Document]:
        return [one for _, one in self.of.values()]


def effects(api: Api, old: Objects, new: Objects) -> dict[str, str]:
    """Return what an update from what the plane has would do, with the first message of each kind."""
    found: dict[str, str] = {}
    for key, (release, one) in new.of.items():
        stored = old.of.get(key)
        if stored and stored[0].name != release.name:
            found.setdefault("objects of another release", f"{key} is of {stored[0].name}")
        elif stored:
            try:
                api.apply(one, manager=HELM, force=False, dry_run=True)
            except Refused as refusal:
                found.setdefault(f"{key[0]} is immutable", str(refusal))
        elif api.find("v1", "Namespace", key[1] or "default"):
            # Objects of a namespace that is not there come with it.
            api.create(one, dry_run=True)
    for kind, _, name in old.of.keys() - new.of.keys():
        if kind in ("CustomResourceDefinition", "Namespace"):
            found.setdefault("jobs end", f"{kind} {name} is deleted")
    for chart in old.charts - new.charts:
        found.setdefault("jobs end", f"{chart} is removed")
    return found


@pytest.mark.heavy
@pytest.mark.parametrize("before", STATES)
def test_what_kubernetes_refuses_of_an_update_validate_refuses_and_nothing_else(
    before: str, with_definitions: Api, synthesized: Callable[[str], Synthesis]
) -> None:
    stack, states = STATES[before]
    old = Objects.read(synthesized(states[before]), stack)
    with_definitions.apply_all(in_helm_order(old.documents()), manager=HELM)
    wrong = []
    try:
        for after, text in states.items():
            happens = effects(with_definitions, old, Objects.read(synthesized(text), stack))
            says = errors(states[before], text)
            for effect, rules in RULES.items():
                said = says.keys() & rules
                if (effect in happens and not said) or (effect not in happens and said - OF_DATA):
                    wrong.append((after, effect, happens.get(effect), says))
            if unknown := happens.keys() - RULES.keys():
                wrong.append((after, "no rule", {name: happens[name] for name in unknown}, says))
            known = {rule for rules in RULES.values() for rule in rules}
            if unknown := says.keys() - known - OF_DATA:
                wrong.append((after, "no such effect", unknown, says))
    finally:
        delete_all(with_definitions, old.documents())
    assert wrong == []


def errors(before: str, after: str) -> dict[str, str]:
    """Return the errors of `validate --against` by rule."""
    deployed = Deployed(settings=Settings.model_validate(yaml.safe_load(before)))
    findings = check(Settings.model_validate(yaml.safe_load(after)), None, deployed)
    assert not [one for one in findings if one.severity == "error" and not one.rule.startswith("update-")]
    return {one.rule: one.message for one in findings if one.severity == "error"}
