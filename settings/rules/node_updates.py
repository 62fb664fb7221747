"""Rules on new images of nodes: releases of the services' own images, patches, and what a change interrupts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from catalog.cluster_kinds import (
    EKS,
    HYPERPOD,
    HYPERPOD_EKS,
    HYPERPOD_SOFTWARE,
    KINDS,
    KUBERNETES,
    PARALLELCLUSTER,
    SAGEMAKER,
)
from catalog.eks import KUBERNETES_VERSIONS
from settings.deployed import Deployed
from settings.deployment import Settings
from settings.parser.values import listed, shown
from settings.rules.rule import Problem, Subject, error, warning
from settings.sections.images import NodeImageSettings
from settings.sections.parallelcluster import ParallelClusterSettings

_STRATEGIES = {
    "drain": "with 'drain' a node takes no new job, and is replaced when its jobs have ended",
    "terminate": "with 'terminate' nodes are ended at once, and so are their jobs",
    "compute-fleet-stop": "with 'compute-fleet-stop' the deployment fails while a compute node runs",
}
"""The effect of each strategy (aws-parallelcluster-cookbook, recipes/update/update_head_node.rb: DRAIN and
POWER_DOWN_ASAP, POWER_DOWN_FORCE; aws-parallelcluster, config/update_policy.py: the third)."""

_DESCRIBE = "'aws sagemaker describe-cluster --cluster-name {cluster}'"


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a cluster's section that gives nodes another image of the service's own.

    `what` is what it says, `outcome` what a change of it interrupts, and `next_step` what a person runs then.
    """

    cluster: str
    name: str
    what: str
    outcome: str
    next_step: str

    @property
    def path(self) -> str:
        """Return its path."""
        return f"{self.cluster}.{self.name}"


_SERVICE = "the service's"
_REFERENCE = re.compile(r"\{\{resolve:ssm:.*/(?P<image>[^/:]+):(?P<version>[0-9]+)\}\}")
# CloudFormation, AWS::EKS::Nodegroup: a change of AmiType is a replacement, and a group has none beside an own image.
_REPLACED_GROUPS = (
    "the node groups of all pools are replaced: new ones are created before the old ones are deleted, so nodes of both "
    "are needed at the same time, and the pods of the old ones are evicted"
)
_PATCHING = "a patch replaces the root volume of nodes that have no job, which take no new one meanwhile; jobs continue"
_SCHEDULED = f"nothing now; at each of these times {HYPERPOD_SOFTWARE}"

KEYS: tuple[Key, ...] = (
    # CloudFormation, AWS::SageMaker::Cluster, ImageReleaseVersion: a change starts UpdateClusterSoftware.
    Key(
        HYPERPOD_EKS.name,
        "release_version",
        "the release of HyperPod's image",
        HYPERPOD_SOFTWARE,
        "stop the jobs, deploy, and wait until 'kubectl get nodes' shows every node as Ready; "
        f"{_DESCRIBE} has 'CurrentImageReleaseVersion' of each group",
    ),
    *(
        Key(
            cluster,
            "patching",
            "the way of patches",
            _PATCHING,
            f"deploy; {_DESCRIBE} has the date of the next patch",
        )
        for cluster in SAGEMAKER
    ),
    *(
        Key(
            cluster,
            "scheduled_update",
            "the times of updates",
            _SCHEDULED,
            "deploy, and let no job run at these times that must not be interrupted",
        )
        for cluster in SAGEMAKER
    ),
    Key(
        EKS.name,
        "release_version",
        "the release of EKS' image",
        f"{EKS.new_image}; system nodes are replaced too",
        EKS.after_new_image,
    ),
    Key(EKS.name, "updates", "the replacement of nodes", "nothing, until nodes get another image", "deploy"),
    Key(
        EKS.name,
        "kubernetes_version",
        "the version of Kubernetes",
        f"the control plane is updated first; then {EKS.new_image}, but for those on an image of your own",
        f"build an image of your own again for the new version; {EKS.after_new_image}",
    ),
    # SageMaker guide, "Update the SageMaker HyperPod platform software": HyperPod chooses its image by that version.
    Key(
        HYPERPOD_EKS.name,
        "kubernetes_version",
        "the version of Kubernetes",
        "the control plane and the system nodes are updated, and HyperPod's nodes keep their image",
        "deploy; stop the jobs; 'aws sagemaker update-cluster-software --cluster-name {cluster}' gives the nodes the "
        "image of the new version, for which it replaces their root volumes",
    ),
)
"""Keys whose changes `node-image-change` reports, beside `image`."""

JUDGED = (*(f"{name}.image" for name, kind in KINDS.items() if kind.new_image), *(key.path for key in KEYS))
"""Keys whose changes are judged here."""


@error("hyperpod-update-batches")
def _batches(subject: Subject) -> Iterator[Problem]:
    """HyperPod updates nodes in batches on clusters with EKS only.

    Source: SageMaker guide, "Update your AMI version in your SageMaker HyperPod cluster", note.
    """
    section = subject.settings.hyperpod
    planned = section.scheduled_update if section else None
    for key in ("batch_nodes", "wait_seconds"):
        value = getattr(planned, key, None)
        if value is not None:
            yield Problem(
                f"{HYPERPOD.name}.scheduled_update.{key}",
                value,
                "HyperPod updates nodes of a Slurm cluster all at once, not in batches",
                f"remove '{key}', or give each part of the nodes a pool of its own",
            )


@error("hyperpod-release-image", depends_on=("hyperpod_eks.image",))
def _release_beside_image(subject: Subject) -> Iterator[Problem]:
    """A release is one of HyperPod's own image (botocore: sagemaker, ImageReleaseVersion)."""
    section = subject.settings.hyperpod_eks
    if section and section.image and section.release_version:
        yield Problem(
            "hyperpod_eks.release_version",
            section.release_version,
            "nodes start from an image of your own, and the release is one of HyperPod's image",
            "remove 'release_version', or 'image'",
        )


@error("hyperpod-patching-image", too_strict=True, depends_on=("hyperpod.image", "hyperpod_eks.image"))
def _patches_beside_image(subject: Subject) -> Iterator[Problem]:
    """Patches and scheduled updates bring releases of HyperPod's own image, which has nothing of yours.

    Source: botocore, sagemaker, ClusterAutoPatchConfig; UpdateClusterSoftware, `ImageId`: a group with an image of
    your own must be given an image, or 'default'. Too strict where SageMaker says what they do beside such an image.
    """
    for cluster in SAGEMAKER:
        section: Any = subject.settings.clusters.get(cluster)
        for key in ("patching", "scheduled_update") if section and section.image else ():
            if getattr(section, key):
                yield Problem(
                    f"{cluster}.{key}",
                    section.image.source or section.image.ami_id,
                    f"nodes start from the image {_image(section)}, and '{key}' brings releases of "
                    "HyperPod's own",
                    f"remove '{key}', and build the image again"
                    + (": its pipeline has a schedule" if section.image.source else ""),
                )


@warning("hyperpod-two-updates")
def _two_ways(subject: Subject) -> Iterator[Problem]:
    """Updates that overlap may fail, and a scheduled one waits for no job.

    Source: SageMaker guide, "Update your AMI version in your SageMaker HyperPod cluster", of several schedules; no page
    says whether a group may have both.
    """
    for cluster in SAGEMAKER:
        section: Any = subject.settings.clusters.get(cluster)
        if section and section.patching and section.scheduled_update:
            yield Problem(
                f"{cluster}.scheduled_update",
                section.scheduled_update.schedule,
                "nodes have two ways of updates: patches wait until they are idle, and the schedule does not",
                "remove 'scheduled_update' where jobs must not be interrupted, or 'patching'",
            )


@error("eks-release-version", depends_on=("eks.kubernetes_version",))
def _release_of_version(subject: Subject) -> Iterator[Problem]:
    """A release of EKS' image is for one version of Kubernetes, which it begins with."""
    section = subject.settings.eks
    release = section.release_version if section else None
    if section and release and not release.startswith(f"{section.kubernetes_version}."):
        yield Problem(
            "eks.release_version",
            release,
            f"the release '{shown(release)}' is not for the Kubernetes version '{shown(section.kubernetes_version)}'",
            "'aws ssm get-parameter --name /aws/service/eks/optimized-ami/"
            f"{section.kubernetes_version}/amazon-linux-2023/x86_64/standard/recommended/release_version' prints one",
        )


@error("eks-release-back", compares=True)
def _release_back(subject: Subject) -> Iterator[Problem]:
    """EKS takes no node group back to an earlier release (botocore: eks, UpdateNodegroupVersion)."""
    before, now = (settings.eks if settings else None for settings in _both(subject))
    old, new = (section.release_version if section else None for section in (before, now))
    if old and new and _number(new) < _number(old):
        yield Problem(
            "eks.release_version",
            new,
            f"the release of EKS' image goes back from '{shown(old)}' to '{shown(new)}', which EKS refuses",
            f"keep '{shown(old)}'; or add a pool with another name, move the jobs, and remove the old one",
        )


def _number(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.replace("-", ".").split("."))


_VERSIONS = ("kubernetes_version", "release_version")
_OF_GROUPS = ("node_repair", "scaling", "system", "updates")
"""Keys of the section that are in node groups beside their version."""


@error("eks-release-alone", compares=True)
def _release_alone(subject: Subject) -> Iterator[Problem]:
    """A node group takes another version or release in an update that changes nothing else of it.

    Source: the service's message, "Version and ReleaseVersion updates cannot be combined with other updates"
    (aws/containers-roadmap, issue 1258), and of tags awsdocs/aws-cloudformation-user-guide, pull request 1181.
    """
    before, now = _both(subject)
    if before is None or now is None or before.eks is None or now.eks is None:
        return
    changed = [key for key in _VERSIONS if getattr(before.eks, key) != getattr(now.eks, key)]
    others = [f"eks.{key}" for key in _OF_GROUPS if getattr(before.eks, key) != getattr(now.eks, key)]
    others += ["tags"] if before.tags != now.tags else []
    pools = [name for name in now.eks.pools if name in before.eks.pools]
    others += [f"pools.{name}" for name in pools if before.pools.get(name) != now.pools.get(name)]
    if changed and others:
        yield Problem(
            f"eks.{changed[0]}",
            getattr(now.eks, changed[0]),
            f"{listed([f'eks.{key}' for key in changed], 'and')} changes together with {listed(others, 'and')}: EKS "
            "refuses another version of a node group beside other changes of it",
            f"deploy {listed(others, 'and')} first, then the version",
        )


@error("kubernetes-version-step", compares=True)
def _version_step(subject: Subject) -> Iterator[Problem]:
    """EKS updates a control plane by one minor version at a time, and takes none back.

    Source: EKS User Guide, "Update existing cluster to new Kubernetes version".
    """
    before, now = _both(subject)
    for cluster in KUBERNETES if before and now else ():
        old, new = (_version(settings, cluster) for settings in (before, now))
        if old is None or new is None or new - old in (0, 1):
            continue
        was, chosen = KUBERNETES_VERSIONS[old], KUBERNETES_VERSIONS[new]
        back = new < old
        yield Problem(
            f"{cluster}.kubernetes_version",
            chosen,
            f"the version of Kubernetes changes from '{was}' to '{chosen}', and EKS "
            f"{'takes none back' if back else 'updates by one minor version at a time'}",
            f"keep '{was}'" if back else f"deploy '{KUBERNETES_VERSIONS[old + 1]}' first",
        )


def _version(settings: Settings | None, cluster: str) -> int | None:
    """Return the place of a cluster's version of Kubernetes among all; None where there is none of both."""
    section = settings.clusters.get(cluster) if settings else None
    version = getattr(section, "kubernetes_version", None)
    return KUBERNETES_VERSIONS.index(version) if version in KUBERNETES_VERSIONS else None


@warning("node-image-change", compares=True)
def _changed(subject: Subject) -> Iterator[Problem]:
    """Another image comes with another node, or with another root volume: each service does it in its own way."""
    now = subject.settings
    for cluster, old, new in _images(subject):
        if old != new:
            yield Problem(
                f"{cluster}.image",
                new,
                f"the image of nodes changes from {old} to {new}: {_outcome(now, cluster, _SERVICE in (old, new))}",
                KINDS[cluster].after_new_image.format(cluster=_name(now, cluster)) + _way_back(old),
            )
    before = subject.deployed.settings if subject.deployed else None
    if before is None:
        return
    for key in KEYS:
        old_section, new_section = before.clusters.get(key.cluster), now.clusters.get(key.cluster)
        if old_section is None or new_section is None:
            continue
        old_value, new_value = getattr(old_section, key.name), getattr(new_section, key.name)
        if old_value != new_value:
            yield Problem(
                key.path,
                _written(new_value),
                f"{key.what} changes from {_written(old_value)} to {_written(new_value)}: {key.outcome}",
                key.next_step.format(cluster=_name(now, key.cluster)),
            )


def _name(settings: Settings, cluster: str) -> str:
    """Return the name of a cluster to its service."""
    return f"{settings.name}-{cluster.replace('_', '-')}"


def _images(subject: Subject) -> Iterator[tuple[str, str, str]]:
    """Yield each cluster whose nodes' image is known before and after, with both images in words."""
    deployed, now = subject.deployed, subject.settings
    if deployed and deployed.settings:
        for cluster, section in now.clusters.items():
            old = deployed.settings.clusters.get(cluster)
            if old:
                yield cluster, _image(old), _image(section)
    elif deployed and now.parallelcluster:
        found = _image_of_queues(deployed)
        if found:
            yield PARALLELCLUSTER.name, found, _image(now.parallelcluster)


def _image_of_queues(deployed: Deployed) -> str:
    """Return the image of the compute nodes of a deployed ParallelCluster in words, empty where it is not known."""
    path = ("Scheduling", "SlurmQueues")
    queues = deployed.at(path)
    names = (
        [queue.get("Name") for queue in queues if isinstance(queue, dict)] if isinstance(queues, list) else []
    )
    images = {deployed.at((*path, str(name), "Image", "CustomAmi")) for name in names}
    if images == {None}:
        return _SERVICE
    named = _REFERENCE.fullmatch(str(images.pop())) if len(images) == 1 else None
    return f"'{shown(named['image'])}' version {named['version']}" if named else ""


def _both(subject: Subject) -> tuple[Settings | None, Settings | None]:
    before = subject.deployed.settings if subject.deployed else None
    return (before, subject.settings) if before else (None, None)


def _outcome(settings: Settings, cluster: str, switches: bool) -> str:
    """Return what another image interrupts; `switches` is true where one of both is the service's."""
    section, kind = settings.clusters[cluster], KINDS[cluster]
    if cluster == EKS.name and switches:
        return _REPLACED_GROUPS
    if cluster == PARALLELCLUSTER.name and isinstance(section, ParallelClusterSettings):
        return f"{kind.new_image}; {_STRATEGIES[section.slurm.update_strategy]}"
    return kind.new_image


def _image(section: Any) -> str:
    """Return the image that a cluster's nodes start from, in words."""
    choice = getattr(section, "image", None)
    if isinstance(choice, NodeImageSettings) and choice.ami_id:
        return f"'{shown(choice.ami_id)}'"
    if choice is None or choice.source is None:
        return _SERVICE
    return f"'{shown(choice.source)}' {f'version {choice.version}' if choice.version else 'the newest'}"


def _way_back(old: str) -> str:
    return f". The way back is {old}" if "version" in old or old.startswith("'ami-") else ""


def _written(value: Any) -> str:
    """Return a key's value in words."""
    if value is None:
        return "none"
    if not is_dataclass(value):
        return f"'{shown(value)}'"
    held = {field.name: getattr(value, field.name) for field in fields(value)}
    return f"'{shown(', '.join(f'{name}: {shown(one)}' for name, one in held.items() if one is not None))}'"
