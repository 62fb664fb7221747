"""Rules on machine images: pipelines, and the images that the nodes of clusters start from."""

from __future__ import annotations

import re
from collections.abc import Iterator

from catalog.cluster_kinds import HYPERPOD, HYPERPOD_EKS, PARALLELCLUSTER
from catalog.machine_images import IMAGES_BY_NAME, MACHINE, MACHINE_IMAGES, MachineImage
from catalog.spelling import did_you_mean
from settings.deployment import Settings
from settings.parser.values import shown
from settings.rules.rule import Problem, Subject, error, warning
from settings.rules.selection import facts, uses
from settings.sections.images import MachineImageSettings, NodeImageSettings
from settings.sections.parallelcluster import ImageSettings

_NAME = re.compile(r"[a-z][a-z0-9-]{0,38}[a-z0-9]")
_AMI = re.compile(r"ami-([0-9a-f]{8}|[0-9a-f]{17})")
_SYSTEMS = {"ubuntu": "ubuntu2404", "amazon-linux": "alinux2023"}
"""ParallelCluster's names of the operating systems of images."""

Chosen = tuple[str, NodeImageSettings | ImageSettings, str]


def _chosen(settings: Settings) -> Iterator[Chosen]:
    """Yield each cluster that takes an image of the section: its kind, its choice, and the image's name."""
    for cluster, section in settings.clusters.items():
        choice = getattr(section, "image", None)
        if choice is not None and choice.source is not None:
            yield cluster, choice, choice.source


def _by_id_or_name(settings: Settings) -> Iterator[tuple[str, NodeImageSettings]]:
    """Yield each cluster whose nodes start from one image of its section, with the choice."""
    for cluster, section in settings.clusters.items():
        choice = getattr(section, "image", None)
        if isinstance(choice, NodeImageSettings):
            yield cluster, choice


def _known(
    settings: Settings,
) -> Iterator[tuple[str, NodeImageSettings | ImageSettings, MachineImageSettings, MachineImage]]:
    """Yield each choice whose image and playbook exist; other rules report the rest."""
    for cluster, choice, name in _chosen(settings):
        section = settings.images.get(name)
        image = IMAGES_BY_NAME.get(section.playbook) if section else None
        if section and image:
            yield cluster, choice, section, image


@error("machine-image-name")
def _names(subject: Subject) -> Iterator[Problem]:
    """Image Builder takes names that differ in case, spaces or underscores for one."""
    for name in subject.settings.images:
        if not _NAME.fullmatch(name):
            yield Problem(
                f"images.{name}",
                name,
                f"'{shown(name)}' is no name of an image: lower case letters, digits and dashes, 2 to 40, beginning "
                "with a letter",
            )


@error("machine-image-playbook")
def _playbooks(subject: Subject) -> Iterator[Problem]:
    """A playbook makes an image on the systems that it was written for."""
    for name, section in subject.settings.images.items():
        image = IMAGES_BY_NAME.get(section.playbook)
        if image is None:
            known = ", ".join(one.name for one in MACHINE_IMAGES)
            yield Problem(
                f"images.{name}.playbook",
                section.playbook,
                f"there is no playbook '{shown(section.playbook)}'{did_you_mean(section.playbook, IMAGES_BY_NAME)}",
                f"choose one of {known}",
            )
        elif image.parents and section.system not in image.parents:
            yield Problem(
                f"images.{name}.system",
                section.system,
                f"the playbook '{image.name}' is not for {section.system}",
                f"choose {' or '.join(image.parents)}",
            )


@error("machine-image-parent")
def _parents(subject: Subject) -> Iterator[Problem]:
    """Image Builder takes a parent by its id or by a parameter, and not by its name as Packer does."""
    for name, section in subject.settings.images.items():
        image = IMAGES_BY_NAME.get(section.playbook)
        if section.parent is not None:
            if not _AMI.fullmatch(section.parent):
                yield Problem(
                    f"images.{name}.parent",
                    section.parent,
                    f"'{shown(section.parent)}' is not the id of an image, 'ami-' and 17 hexadecimal digits",
                )
            continue
        if image is None or (image.parents and section.system not in image.parents):
            continue
        parent = image.parents.get(section.system)
        if parent is None or not parent.parameter:
            yield Problem(
                f"images.{name}",
                name,
                f"the image '{name}' has no parent: no public parameter has the id of that of '{image.name}'",
                "give its id as 'parent'; docs/machine-images.md says where it is printed",
            )


@error("machine-image-architecture", depends_on=("images",))
def _builders(subject: Subject) -> Iterator[Problem]:
    """Parents and vendors' packages are of one architecture."""
    for name, section in subject.settings.images.items():
        if section.instance_type is None:
            continue
        found = facts(section.instance_type)
        if found is None or found.architecture != MACHINE:
            yield Problem(
                f"images.{name}.instance_type",
                section.instance_type,
                f"'{shown(section.instance_type)}' is not in the catalog, or of another architecture than {MACHINE}",
                f"choose an instance type of {MACHINE}, or remove it",
            )


@error("node-image-choice")
def _choices(subject: Subject) -> Iterator[Problem]:
    """Nodes start from one image: an id is that of one image, and a version is one of a name."""
    for cluster, choice in _by_id_or_name(subject.settings):
        path = f"{cluster}.image"
        if choice.source is None and choice.ami_id is None:
            yield Problem(
                path, "", "no image is named", "give 'from', an image of the section 'images', or 'ami_id'"
            )
        elif choice.ami_id is not None and (choice.source is not None or choice.version is not None):
            beside = "from" if choice.source is not None else "version"
            yield Problem(
                f"{path}.{beside}",
                choice.source or choice.version,
                f"'{beside}' is given beside 'ami_id', which is the id of one image",
                f"remove one of '{beside}' and 'ami_id'",
            )


@error("node-image-id")
def _ids(subject: Subject) -> Iterator[Problem]:
    """The id of an image has the form that EC2 gives it (botocore: sagemaker, ImageId: `ami-` and digits)."""
    for cluster, choice in _by_id_or_name(subject.settings):
        if choice.ami_id is not None and not _AMI.fullmatch(choice.ami_id):
            yield Problem(
                f"{cluster}.image.ami_id",
                choice.ami_id,
                f"'{shown(choice.ami_id)}' is not the id of an image, 'ami-' and 17 hexadecimal digits",
                "take that of 'build/machine-images/NAME.json', which Packer writes",
            )


@error("node-image-unknown", depends_on=("images",))
def _unknown(subject: Subject) -> Iterator[Problem]:
    """Nodes start from an image that this configuration builds."""
    settings = subject.settings
    for cluster, _, name in _chosen(settings):
        if name not in settings.images:
            known = ", ".join(settings.images) or "there is none"
            yield Problem(
                f"{cluster}.image.from",
                name,
                f"'{shown(name)}' is not in the section 'images' ({known}){did_you_mean(name, settings.images)}",
                "add it there",
            )


@error("node-image-version", depends_on=("parallelcluster.image",))
def _version_of_none(subject: Subject) -> Iterator[Problem]:
    """A version is that of an image of the section 'images': without one, nodes start from another image."""
    section = subject.settings.parallelcluster
    if section and section.image.version is not None and section.image.source is None:
        yield Problem(
            "parallelcluster.image.version",
            section.image.version,
            f"'version: {section.image.version}' is of no image, because 'from' is absent",
            "add 'from', the name of an image of the section 'images', or remove 'version'",
        )


@error("node-image-kind", depends_on=("images",))
def _kinds(subject: Subject) -> Iterator[Problem]:
    """Nodes need their service's own software: the agent of HyperPod, of EKS or of ECS, ParallelCluster's recipes."""
    for cluster, _, section, image in _known(subject.settings):
        if cluster not in image.clusters:
            fitting = [one.name for one in MACHINE_IMAGES if cluster in one.clusters]
            yield Problem(
                f"{cluster}.image.from",
                section.playbook,
                f"an image of the playbook '{image.name}' does not have what nodes of this cluster need",
                f"take one of {', '.join(fitting)}" if fitting else "remove it",
            )


@error("node-image-devices", depends_on=("images", "pools"))
def _devices(subject: Subject) -> Iterator[Problem]:
    """A driver and an architecture are in the image or they are not there."""
    settings = subject.settings
    chosen = {cluster: image for cluster, _, _, image in _known(settings) if cluster in image.clusters}
    for use in uses(settings):
        image = chosen.get(use.cluster)
        found = facts(use.pool.instance_type) if use.pool else None
        if image is None or found is None:
            continue
        if found.architecture != MACHINE:
            yield Problem(
                use.path,
                use.name,
                f"pool '{use.name}' is of the architecture {found.architecture}, and the image of {MACHINE}",
                "remove the cluster's image, or choose another instance type",
            )
        needed = found.accelerator.kind if found.accelerator else ""
        if needed and image.accelerator not in (needed, "any"):
            yield Problem(
                use.path,
                use.name,
                f"pool '{use.name}' has accelerators of the kind {needed}, and the image '{image.name}' no driver for "
                "them",
                "take an image with the driver, or remove the cluster's image",
            )


@error("node-image-system", depends_on=("images", "parallelcluster.image"))
def _systems(subject: Subject) -> Iterator[Problem]:
    """ParallelCluster sets nodes up for the operating system that its configuration names; one image is one id."""
    for cluster, choice, section, _ in _known(subject.settings):
        if cluster != PARALLELCLUSTER.name or not isinstance(choice, ImageSettings):
            continue
        if choice.os != _SYSTEMS[section.system]:
            yield Problem(
                "parallelcluster.image.os",
                choice.os,
                f"the image '{choice.source}' is not of '{choice.os}'",
                f"write 'os: {_SYSTEMS[section.system]}'",
            )


@error("node-image-hyperpod", depends_on=("images",))
def _hyperpod(subject: Subject) -> Iterator[Problem]:
    """HyperPod's images have one operating system for Slurm and one for EKS; the root volume's name is by it.

    Source: SageMaker AI guide, "Build a custom AMI": parents are of Ubuntu for Slurm and of Amazon Linux for EKS.
    """
    needed = {HYPERPOD.name: "ubuntu", HYPERPOD_EKS.name: "amazon-linux"}
    for cluster, choice, section, image in _known(subject.settings):
        if cluster in image.clusters and section.system != needed.get(cluster, section.system):
            yield Problem(
                f"images.{choice.source}.system",
                section.system,
                f"nodes of {cluster} have {needed[cluster]}, and the image '{choice.source}' is of {section.system}",
                f"write 'system: {needed[cluster]}' and take such a parent",
            )


@error("node-image-services", depends_on=("eks.image", "network.existing"))
def _services(subject: Subject) -> Iterator[Problem]:
    """Nodes on an image of your own are told the range of Kubernetes services, which EKS chooses by the VPC's."""
    settings = subject.settings
    if settings.network.existing and settings.eks and settings.eks.image:
        yield Problem(
            "eks.image",
            settings.eks.image.source or settings.eks.image.ami_id or "",
            "the ranges of an existing VPC are not in the configuration, and EKS chooses that of services by them",
            "remove 'eks.image', or let the deployment make its network",
        )


@error("node-image-isolated", depends_on=("network.isolated",))
def _isolated(subject: Subject) -> Iterator[Problem]:
    """Vendors' downloads are on the internet."""
    settings = subject.settings
    if settings.images and settings.network.isolated and not settings.network.existing:
        yield Problem(
            "images",
            ", ".join(settings.images),
            "an isolated network does not reach the vendors' downloads that images are built from",
            "build the images in a deployment with a network of its own, or remove 'network.isolated'",
        )


@warning("node-image-newest", depends_on=("images",))
def _newest(subject: Subject) -> Iterator[Problem]:
    """Whatever changes the stack would start nodes from a new image too, and end their jobs."""
    for cluster, choice, name in _chosen(subject.settings):
        if choice.version is None:
            yield Problem(
                f"{cluster}.image.from",
                name,
                f"nodes take the newest image of '{shown(name)}' at any deployment that changes the stack",
                "add 'version', that of the SSM parameter",
            )


@warning("machine-image-unused")
def _unused(subject: Subject) -> Iterator[Problem]:
    """A pipeline whose images nobody takes costs its builds."""
    settings = subject.settings
    taken = {name for _, _, name in _chosen(settings)}
    for name in settings.images:
        if name not in taken:
            yield Problem(
                f"images.{name}",
                name,
                f"no cluster of this configuration takes the image '{shown(name)}'",
                f"add 'image: {{from: {shown(name)}}}' to a cluster, or accept this where another deployment takes it",
            )
