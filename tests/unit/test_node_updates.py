"""New images of nodes: what configurations may ask for, what a change interrupts, and what the services are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from typer.testing import CliRunner

from catalog.cluster_kinds import CLUSTERS, KINDS
from catalog.image_builder import image_parameter
from catalog.node_updates import NodeUpdates, Patching, ScheduledUpdate
from catalog.pool import OnDemand, Pool
from cli.main import app
from settings.deployed import Deployed
from settings.deployment import Settings
from settings.rules import check
from settings.rules.node_updates import JUDGED, KEYS
from tests.api_model import api_problems
from tests.synthesis import Synthesis
from tests.unit.configuration import GONE, changed, found, places, read_changed
from tests.unit.test_deployed_update import files
from trainforge.eks.node_group import node_group_properties
from trainforge.hyperpod.groups import GroupDefaults, GroupNetwork, SoftwareUpdates, kubernetes_group

AMI = "ami-0123456789abcdef0"
PLAYBOOKS: dict[str, dict[str, Any]] = {
    "hyperpod": {"playbook": "hyperpod", "parent": AMI},
    "hyperpod_eks": {"playbook": "hyperpod", "parent": AMI},
    "parallelcluster": {"playbook": "parallelcluster-gpu", "parent": AMI},
    "eks": {"playbook": "eks-gpu", "system": "amazon-linux"},
    "batch": {"playbook": "batch-gpu", "system": "amazon-linux"},
}
CRON = "cron(0 4 1 * ? *)"
RELEASE = "1.33.5-20251112"


def on(cluster: str, **section: Any) -> dict[str, Any]:
    """Return changes to the valid configuration that make it one of a cluster, with a pipeline for its image."""
    return {
        "hyperpod": GONE,
        "images": {"one": PLAYBOOKS[cluster]},
        cluster: {"pools": ["gpu"], **section},
    }


def image(cluster: str, version: int | None) -> dict[str, Any]:
    """Return a section with an image of a version, or with the service's."""
    system = {"os": "ubuntu2404"} if cluster == "parallelcluster" else {}
    chosen = {"from": "one", "version": version} if version else {}
    return {"image": {**system, **chosen}} if system or chosen else {}


def said(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return path, message and hint of what is said of a change of images."""
    before, after = (Settings.model_validate(changed(changes)) for changes in (then, now))
    return [
        (one.path, one.message, one.hint)
        for one in check(after, deployed=Deployed(settings=before))
        if one.rule == "node-image-change"
    ]


INTERRUPTS = {
    "hyperpod": ("root volume", "the controller's with the queue of jobs", "update-cluster-software"),
    "hyperpod_eks": ("root volume", "moves no job away", "--cluster-name demo-hyperpod-eks"),
    "parallelcluster": ("head and login nodes are not", "when its jobs have ended", "sinfo --Node --long"),
    "eks": ("evict", "replace", "aws eks list-updates --name demo-eks"),
    "batch": ("another compute environment", "jobs on it end", "aws batch list-jobs"),
}
"""By cluster: two parts of what another image interrupts, and what a person runs next."""


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize(
    ("then", "now", "step"),
    [
        (1, 2, "from 'one' version 1 to 'one' version 2"),
        (2, 1, "from 'one' version 2 to 'one' version 1"),
        (None, 1, "from the service's to 'one' version 1"),
        (1, None, "from 'one' version 1 to the service's"),
    ],
)
def test_another_image_says_what_it_interrupts_and_what_to_run(
    cluster: str, then: int | None, now: int | None, step: str
) -> None:
    [(path, message, hint)] = said(on(cluster, **image(cluster, then)), on(cluster, **image(cluster, now)))
    assert path == f"{cluster}.image"
    assert step in message
    first, second, command = INTERRUPTS[cluster]
    assert first in message
    assert second in message
    assert command in hint
    assert ("The way back is" in hint) is (then is not None)


@pytest.mark.parametrize(
    ("ami", "then"),
    [
        (f"{{{{resolve:ssm:{image_parameter('demo', 'one')}:1}}}}", "'one' version 1"),
        (None, "the service's"),
        # An id and a reference do not tell the version.
        (AMI, ""),
        ({"Ref": "NodeImage"}, ""),
    ],
)
def test_a_deployed_template_of_parallelcluster_tells_its_image_too(ami: Any, then: str) -> None:
    queue = {"Name": "gpu", **({"Image": {"CustomAmi": ami}} if ami else {})}
    cluster = {"HeadNode": {}, "Scheduling": {"SlurmQueues": [queue]}}
    after = Settings.model_validate(changed(on("parallelcluster", **image("parallelcluster", 2))))
    found_now = check(after, deployed=Deployed(cluster=cluster))
    messages = [one.message for one in found_now if one.rule == "node-image-change"]
    expected = [f"the image of nodes changes from {then} to 'one' version 2"] if then else []
    assert [message.partition(":")[0] for message in messages] == expected


def test_a_node_group_of_eks_is_replaced_where_it_leaves_the_service_s_image_or_returns_to_it() -> None:
    own, another, service = (on("eks", **image("eks", version)) for version in (1, 2, None))
    for then, now, replaced in ((service, own, True), (own, service, True), (own, another, False)):
        [(_, message, _)] = said(then, now)
        assert ("nodes of both are needed at the same time" in message) is replaced


def test_no_version_takes_the_newest_and_an_equal_image_says_nothing() -> None:
    first, newest = (on("eks", image={"from": "one", **more}) for more in ({"version": 1}, {}))
    [(_, message, _)] = said(first, newest)
    assert "to 'one' the newest" in message
    assert said(first, first) == []
    # A cluster that comes has no nodes to interrupt.
    assert said({}, on("eks", image={"from": "one", "version": 1})) == []


@pytest.mark.parametrize(
    ("strategy", "outcome"),
    [
        ("drain", "when its jobs have ended"),
        ("terminate", "ended at once, and so are their jobs"),
        ("compute-fleet-stop", "fails while a compute node runs"),
    ],
)
def test_parallelcluster_s_strategy_decides(strategy: str, outcome: str) -> None:
    slurm = {"update_strategy": strategy}
    [(_, message, _)] = said(
        on("parallelcluster", **image("parallelcluster", 1)),
        on("parallelcluster", slurm=slurm, **image("parallelcluster", 2)),
    )
    assert outcome in message


@pytest.mark.parametrize(
    ("cluster", "key", "values", "outcome", "command"),
    [
        ("hyperpod_eks", "release_version", ("1.2.3", "1.3.0"), "root volume", "kubectl get nodes"),
        ("hyperpod_eks", "release_version", (None, "1.3.0"), "from none to '1.3.0'", "stop the jobs"),
        (
            "hyperpod",
            "patching",
            (None, {}),
            "jobs continue",
            "describe-cluster --cluster-name demo-hyperpod'",
        ),
        (
            "hyperpod_eks",
            "patching",
            ({}, {"strategy": "when-all-idle"}),
            "from 'strategy: when-idle' to 'strategy: when-all-idle'",
            "next patch",
        ),
        ("hyperpod", "scheduled_update", (None, {"schedule": CRON}), "at each of these times", "no job run"),
        ("eks", "release_version", ("1.33.4-20250101", RELEASE), "evicts their pods", "PodEvictionFailure"),
        ("eks", "updates", ({}, {"parallel_nodes": 8}), "nothing, until", "deploy"),
    ],
)
def test_another_release_or_way_of_updates_says_what_it_interrupts(
    cluster: str, key: str, values: tuple[Any, Any], outcome: str, command: str
) -> None:
    version = {"kubernetes_version": "1.33"} if cluster == "eks" else {}
    then, now = (on(cluster, **version, **({} if value is None else {key: value})) for value in values)
    [(path, message, hint)] = said(then, now)
    assert path == f"{cluster}.{key}"
    assert outcome in message
    assert command in hint


def test_every_key_and_every_kind_is_said_and_none_is_left_uncompared() -> None:
    assert [name for name in CLUSTERS if not (KINDS[name].new_image and KINDS[name].after_new_image)] == []
    for key in KEYS:
        assert (
            key.name
            in type(Settings.model_validate(changed(on(key.cluster))).clusters[key.cluster]).model_fields
        )
    for cluster in ("hyperpod", "hyperpod_eks", "eks", "batch"):
        before, after = (
            Settings.model_validate(changed(on(cluster, **image(cluster, version)))) for version in (1, 2)
        )
        rules = {(one.rule, one.path) for one in check(after, deployed=Deployed(settings=before))}
        assert ("node-image-change", f"{cluster}.image") in rules
        assert "update-not-compared" not in {rule for rule, _ in rules}
        assert f"{cluster}.image" in JUDGED


@pytest.mark.parametrize("cluster", ["hyperpod", "hyperpod_eks", "eks", "batch"])
def test_an_image_by_its_id_is_another_image_too(cluster: str) -> None:
    by_id = on(cluster, image={"ami_id": AMI})
    [(_, message, hint)] = said(on(cluster, **image(cluster, 1)), by_id)
    assert f"from 'one' version 1 to '{AMI}'" in message
    assert "'one' version 1" in hint
    [(_, message, hint)] = said(by_id, on(cluster, image={"ami_id": AMI[:-1] + "1"}))
    assert f"from '{AMI}' to '{AMI[:-1]}1'" in message
    assert f"The way back is '{AMI}'" in hint
    assert said(by_id, by_id) == []


def test_a_pipeline_that_changes_interrupts_nothing() -> None:
    then = on("batch", **image("batch", 1))
    now = {**then, "images": {"one": {**PLAYBOOKS["batch"], "keep": 9}}}
    before, after = (Settings.model_validate(changed(changes)) for changes in (then, now))
    rules = {one.rule for one in check(after, deployed=Deployed(settings=before))}
    assert not rules & {"node-image-change", "update-not-compared"}


def test_the_command_prints_it_and_the_configuration_stays_valid(tmp_path: Any) -> None:
    now, then = files(tmp_path, on("eks", **image("eks", 1)), on("eks", **image("eks", 2)))
    result = CliRunner().invoke(app, ["validate", now, "--against", then])
    assert result.exit_code == 0, result.output
    assert "EKS replaces nodes" in " ".join(result.output.split())
    assert "NOT COMPARED" not in result.output


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (on("hyperpod", patching={}, scheduled_update=None), set()),
        # HyperPod's documented limits.
        (
            on("hyperpod", scheduled_update={"schedule": CRON, "batch_nodes": 2, "wait_seconds": 60}),
            {
                ("hyperpod-update-batches", "hyperpod.scheduled_update.batch_nodes"),
                ("hyperpod-update-batches", "hyperpod.scheduled_update.wait_seconds"),
            },
        ),
        (
            on("hyperpod_eks", scheduled_update={"schedule": CRON, "batch_nodes": 2, "wait_seconds": 60}),
            set(),
        ),
        (
            on("hyperpod_eks", release_version="1.2.3", **image("hyperpod_eks", 1)),
            {("hyperpod-release-image", "hyperpod_eks.release_version")},
        ),
        (
            on("hyperpod", patching={}, **image("hyperpod", 1)),
            {("hyperpod-patching-image", "hyperpod.patching")},
        ),
        (
            on("hyperpod_eks", scheduled_update={"schedule": CRON}, **image("hyperpod_eks", 1)),
            {("hyperpod-patching-image", "hyperpod_eks.scheduled_update")},
        ),
        (
            on("hyperpod", patching={}, scheduled_update={"schedule": CRON}),
            {("hyperpod-two-updates", "hyperpod.scheduled_update")},
        ),
        # EKS
        (on("eks", kubernetes_version="1.33", release_version=RELEASE), set()),
        (
            on("eks", kubernetes_version="1.34", release_version=RELEASE),
            {("eks-release-version", "eks.release_version")},
        ),
    ],
)
def test_what_a_configuration_may_ask_for(changes: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    ours = ("hyperpod-update", "hyperpod-release", "hyperpod-patching", "hyperpod-two", "eks-release")
    assert {one for one in found(changes) if one[0].startswith(ours)} == expected


@pytest.mark.parametrize(
    ("section", "rule", "path"),
    [
        # HyperPod takes a release on clusters with EKS only (CloudFormation, AWS::SageMaker::Cluster).
        ({"hyperpod.release_version": "1.2.3"}, "unknown-key", "hyperpod.release_version"),
        # A schedule has one hour, no range and no list.
        (
            {"hyperpod.scheduled_update": {"schedule": "cron(0 4-6 1 * ? *)"}},
            "bad-value",
            "hyperpod.scheduled_update.schedule",
        ),
        # CloudFormation takes no other strategy.
        ({"hyperpod.patching": {"strategy": "drain-first"}}, "not-allowed", "hyperpod.patching.strategy"),
    ],
)
def test_the_form_of_what_hyperpod_takes(
    tmp_path: Any, section: dict[str, Any], rule: str, path: str
) -> None:
    assert (rule, path) in places(read_changed(tmp_path, section))


def refused(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return rule and path of the errors of the comparison."""
    before, after = (Settings.model_validate(changed(changes)) for changes in (then, now))
    ours = ("eks-release-alone", "kubernetes-version-step")
    return [
        (one.rule, one.path) for one in check(after, deployed=Deployed(settings=before)) if one.rule in ours
    ]


VERSION = {"kubernetes_version": "1.34"}


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (on("eks", kubernetes_version="1.35"), []),
        (on("eks", kubernetes_version="1.36"), [("kubernetes-version-step", "eks.kubernetes_version")]),
        (on("eks", kubernetes_version="1.33"), [("kubernetes-version-step", "eks.kubernetes_version")]),
        ({**on("eks", **VERSION), "pools.gpu.volume_gib": 300}, []),
        (
            {**on("eks", kubernetes_version="1.35"), "pools.gpu.volume_gib": 300},
            [("eks-release-alone", "eks.kubernetes_version")],
        ),
        (
            {**on("eks", **VERSION, release_version="1.34.1-20260101"), "tags": {"team": "a"}},
            [("eks-release-alone", "eks.release_version")],
        ),
        (
            on("eks", **VERSION, release_version="1.34.1-20260101", scaling={"gpu": {"desired": 0}}),
            [("eks-release-alone", "eks.release_version")],
        ),
    ],
)
def test_versions_change_step_by_step_and_alone(now: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert refused(on("eks", **VERSION), now) == expected


def test_hyperpod_s_nodes_keep_the_image_of_the_version_before() -> None:
    then, now = (on("hyperpod_eks", kubernetes_version=version) for version in ("1.33", "1.34"))
    [(path, message, hint)] = said(then, now)
    assert path == "hyperpod_eks.kubernetes_version"
    assert "HyperPod's nodes keep their image" in message
    assert "update-cluster-software --cluster-name demo-hyperpod-eks" in hint


def test_eks_takes_no_earlier_release() -> None:
    then, now = (
        Settings.model_validate(changed(on("eks", kubernetes_version="1.33", release_version=release)))
        for release in (RELEASE, "1.33.4-20250910")
    )
    for before, after, refused in ((then, now, True), (now, then, False)):
        rules = {one.rule for one in check(after, deployed=Deployed(settings=before))}
        assert ("eks-release-back" in rules) is refused


SOFTWARE = ("ImageReleaseVersion", "AutoPatchConfig", "ScheduledUpdateConfig")
NETWORK = GroupNetwork("subnet-0123456789abcdef0", ("sg-0123456789abcdef0",))
POOL = Pool("gpu", "p5.48xlarge", 4, "us-west-2a", OnDemand())


def test_hyperpod_is_told_the_release_patches_and_times() -> None:
    software = SoftwareUpdates("1.2.3", Patching("when-all-idle"), ScheduledUpdate(CRON, 2, 60))
    defaults = GroupDefaults("arn:aws:iam::111122223333:role/nodes", software=software)
    group = kubernetes_group(defaults, POOL, labels={}, taints=[], network=NETWORK, deep_health_checks=False)
    assert [group[name] for name in SOFTWARE] == [
        "1.2.3",
        {"PatchingStrategy": "WhenAllIdle"},
        {
            "ScheduleExpression": CRON,
            "DeploymentConfig": {
                "RollingUpdatePolicy": {"MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 2}},
                "WaitIntervalInSeconds": 60,
            },
        },
    ]
    request = {"ClusterName": "demo", "InstanceGroups": [group]}
    assert api_problems("sagemaker", "CreateCluster", request) == ""
    assert SoftwareUpdates(scheduled=ScheduledUpdate(CRON)).properties() == {
        "ScheduledUpdateConfig": {"ScheduleExpression": CRON}
    }


def test_stacks_pass_it_to_pools_and_not_to_a_slurm_controller(synthesis: Callable[[str], Synthesis]) -> None:
    kubernetes = synthesis("config/hyperpod-eks.yaml").only("HyperPodEksStack", "AWS::SageMaker::Cluster")
    assert [group["AutoPatchConfig"]["PatchingStrategy"] for group in kubernetes["InstanceGroups"]] == [
        "WhenIdle"
    ] * 2
    slurm = synthesis("config/p5en-training-plan.yaml").only("HyperPodStack", "AWS::SageMaker::Cluster")
    assert {
        group["InstanceGroupName"]: group.get("AutoPatchConfig") for group in slurm["InstanceGroups"]
    } == {
        "controller": None,
        "login": None,
        "gpu": {"PatchingStrategy": "WhenAllIdle"},
    }


def test_eks_is_told_the_release_and_how_nodes_are_replaced(synthesis: Callable[[str], Synthesis]) -> None:
    updates = NodeUpdates(3, force=True)
    properties = node_group_properties(POOL, release=RELEASE, updates=updates)
    assert properties["ReleaseVersion"] == RELEASE
    assert properties["UpdateConfig"] == {"MaxUnavailable": 3, "UpdateStrategy": "MINIMAL"}
    assert properties["ForceUpdateEnabled"] is True
    # EKS fails the update of a node group that has both.
    assert "ReleaseVersion" not in node_group_properties(POOL, own_image=True, release=RELEASE)
    groups = {
        one["Properties"]["Tags"]["trainforge:pool"]: one["Properties"]["UpdateConfig"]["MaxUnavailable"]
        for one in synthesis("config/eks.yaml").resources("EksStack", "AWS::EKS::Nodegroup")
    }
    assert groups == {"system": 1, "gpu": 2, "trainium": 2, "cpu": 2}
