"""Rules on a ParallelCluster's nodes: images, volumes, login pools, SSH, packages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Network, collapse_addresses
from pathlib import PurePosixPath

from settings.parser.values import shown
from settings.rules.rule import Problem, Subject, error, warning
from settings.rules.selection import facts

_WITHOUT_AGENT = ("rhel8", "rhel9")
"""Systems whose AMIs have no SSM agent, and for which ParallelCluster's recipes install none. Sources: Systems Manager
user guide, "AMIs with SSM Agent preinstalled"; aws-parallelcluster-cookbook, which does not mention the agent."""


@error("image-session", depends_on=("parallelcluster.image",))
def _session(subject: Subject) -> Iterator[Problem]:
    """Session Manager reaches a node by its agent. Without agent, key or open port nobody can log in anywhere."""
    cluster = subject.settings.parallelcluster
    if cluster is None or cluster.image.ami_id is not None or cluster.image.os not in _WITHOUT_AGENT:
        return
    if not (cluster.ssh.key_name and cluster.ssh.allowed_addresses):
        yield Problem(
            "parallelcluster.image.os",
            cluster.image.os,
            f"ParallelCluster's image of '{cluster.image.os}' has no SSM agent, so that Session Manager reaches "
            "no node, and "
            "SSH is not configured",
            "give 'ssh.key_name' and 'ssh.allowed_addresses', or an image of your own with the agent as "
            "'image.ami_id', or choose an Ubuntu or 'alinux2023'",
        )


@error("image-neuron", depends_on=("parallelcluster.pools", "pools", "parallelcluster.image"))
def _neuron(subject: Subject) -> Iterator[Problem]:
    """Official images have NVIDIA's driver and none for Trainium and Inferentia: no device appears, and no job runs.

    Source: aws-parallelcluster-cookbook, whose recipes do not mention Neuron; AWS's Neuron samples for ParallelCluster
    install the driver by a script of their own, from a package repository that is not the operating system's.
    """
    cluster = subject.settings.parallelcluster
    if cluster is None or cluster.image.own:
        return
    for index, name in enumerate(cluster.pools):
        chosen = subject.settings.pools[name].instance_type if name in subject.settings.pools else ""
        found = facts(chosen)
        if found and found.has_neuron:
            yield Problem(
                f"parallelcluster.pools.{index}",
                name,
                f"pool '{shown(name)}': ParallelCluster's images have no Neuron driver for '{chosen}'",
                "give an image of your own with 'aws-neuronx-dkms' as 'image.ami_id' ('pcluster build-image' makes one "
                "from ParallelCluster's), or use the pool on another cluster",
            )


MAX_LOGIN_POOLS = 10
"""Source: aws-parallelcluster, constants.MAX_NUMBER_OF_LOGIN_NODE_POOLS."""
MIN_ROOT_GIB = 45
"""Root volume of official images. Source: aws-parallelcluster, constants.EBS_ROOT_VOLUME_SIZE_DEFAULT."""
_WITHOUT_OFFICIAL = ("rocky8", "rocky9")
"""Source: aws-parallelcluster, constants.PRIVATE_OSES."""
_AMI = re.compile(r"ami-([0-9a-f]{8}|[0-9a-f]{17})")
_VOLUME = re.compile(r"fsvol-[0-9a-f]{17}")
_BEFORE_TURING = frozenset({"V100", "K80", "M60"})
"""Source: aws-parallelcluster, constants.NVIDIA_OPENRM_UNSUPPORTED_INSTANCE_TYPES, by the GPUs of those types."""
_EVERYWHERE = IPv4Network("0.0.0.0/0")


@error("root-volume", too_strict=True, depends_on=("parallelcluster.pools", "pools"))
def _volumes(subject: Subject) -> Iterator[Problem]:
    """A root volume is no smaller than the image that it is made from. Too strict with a small image of your own."""
    cluster = subject.settings.parallelcluster
    if cluster is None:
        return
    sizes = [("parallelcluster.head_node.volume_gib", cluster.head_node.volume_gib, "the head node")]
    for name in cluster.pools:
        if name in subject.settings.pools:
            size = subject.settings.pools[name].volume_gib
            sizes.append((f"pools.{name}.volume_gib", size, f"pool '{name}'"))
    for path, size, what in sizes:
        if size < MIN_ROOT_GIB:
            yield Problem(
                path,
                size,
                f"{what}: a root volume of {size} GiB is smaller than ParallelCluster's image, {MIN_ROOT_GIB} GiB",
                f"set 'volume_gib: {MIN_ROOT_GIB}' or more",
            )


@error("home-volume", depends_on=("storage.openzfs",))
def _home(subject: Subject) -> Iterator[Problem]:
    """ParallelCluster mounts a volume of an OpenZFS file system, which the file system's id does not tell."""
    openzfs = subject.settings.storage.openzfs
    existing = openzfs.existing if openzfs else None
    if subject.settings.parallelcluster is None or existing is None:
        return
    if existing.volume_id is None or not _VOLUME.fullmatch(existing.volume_id):
        yield Problem(
            "storage.openzfs.existing" + (".volume_id" if existing.volume_id else ""),
            existing.volume_id,
            "ParallelCluster needs the id of the volume to mount, 'fsvol-' and 17 hexadecimal digits"
            + (f", and '{shown(existing.volume_id)}' is none" if existing.volume_id else ""),
            f"'aws fsx describe-volumes --filters Name=file-system-id,Values={shown(existing.file_system_id)}' "
            "prints it; write it to 'volume_id'",
        )


@error("mount-scratch", depends_on=("storage",))
def _scratch(subject: Subject) -> Iterator[Problem]:
    """ParallelCluster mounts a type's own disks at /scratch, over whatever is there."""
    if subject.settings.parallelcluster is None:
        return
    for kind in ("lustre", "openzfs"):
        section = getattr(subject.settings.storage, kind)
        if section and PurePosixPath("/scratch") in (
            path := PurePosixPath(section.mount_path),
            *path.parents,
        ):
            yield Problem(
                f"storage.{kind}.mount_path",
                section.mount_path,
                f"a ParallelCluster's nodes have their own disks at '/scratch', which would hide "
                f"'{shown(section.mount_path)}'",
                "choose another folder, such as '/fsx'",
            )


@error("login-pools")
def _login_pools(subject: Subject) -> Iterator[Problem]:
    """A cluster has at most ten pools of login nodes."""
    login = subject.settings.parallelcluster.login if subject.settings.parallelcluster else {}
    if len(login) > MAX_LOGIN_POOLS:
        yield Problem(
            "parallelcluster.login",
            len(login),
            f"{len(login)} pools of login nodes are more than the {MAX_LOGIN_POOLS} that a ParallelCluster takes",
        )


@error("image-id")
def _image(subject: Subject) -> Iterator[Problem]:
    """An image is named by its id, and some systems have no official one."""
    cluster = subject.settings.parallelcluster
    if cluster is None:
        return
    image = cluster.image
    if image.ami_id is not None and not _AMI.fullmatch(image.ami_id):
        yield Problem(
            "parallelcluster.image.ami_id",
            image.ami_id,
            f"'{shown(image.ami_id)}' is not the id of an image, 'ami-' and 17 hexadecimal digits",
        )
    if image.ami_id is None and image.os in _WITHOUT_OFFICIAL:
        yield Problem(
            "parallelcluster.image.os",
            image.os,
            f"ParallelCluster publishes no image of '{image.os}'",
            "give one of your own as 'ami_id', or choose another system",
        )


@error("image-driver", depends_on=("parallelcluster.pools", "pools"))
def _driver(subject: Subject) -> Iterator[Problem]:
    """Official images bring NVIDIA's open driver, which supports no GPU older than Turing."""
    cluster = subject.settings.parallelcluster
    if cluster is None or cluster.image.own:
        return
    for index, name in enumerate(cluster.pools):
        chosen = subject.settings.pools[name].instance_type if name in subject.settings.pools else ""
        found = facts(chosen)
        if found and found.accelerator and found.accelerator.name in _BEFORE_TURING:
            yield Problem(
                f"parallelcluster.pools.{index}",
                name,
                f"pool '{shown(name)}': ParallelCluster's images have no driver for the {found.accelerator.name} of "
                f"'{chosen}'",
                "choose a newer type, or give an image of your own with NVIDIA's closed driver as 'image.ami_id'",
            )


@error("ssh-open", too_strict=True)
def _ssh(subject: Subject) -> Iterator[Problem]:
    """A port that is open to the internet is attacked from there. Too strict where a firewall protects it."""
    addresses = (
        subject.settings.parallelcluster.ssh.allowed_addresses if subject.settings.parallelcluster else []
    )
    hint = "name your own addresses, or leave them out: Session Manager needs no open port"
    for index, address in enumerate(addresses):
        if address == _EVERYWHERE:
            where = f"parallelcluster.ssh.allowed_addresses.{index}"
            yield Problem(where, address, f"'{address}' lets everybody try to log in", hint)
    if _EVERYWHERE not in addresses and list(collapse_addresses(addresses)) == [_EVERYWHERE]:
        yield Problem(
            "parallelcluster.ssh.allowed_addresses",
            [str(address) for address in addresses],
            "together these ranges are all addresses, and let everybody try to log in",
            hint,
        )


@error("packages-os", depends_on=("parallelcluster.image.os",))
def _packages(subject: Subject) -> Iterator[Problem]:
    """Packages are Ubuntu's, by apt."""
    cluster = subject.settings.parallelcluster
    if (
        cluster
        and cluster.node_setup
        and cluster.node_setup.packages
        and not cluster.image.os.startswith("ubuntu")
    ):
        yield Problem(
            "parallelcluster.node_setup.packages",
            cluster.node_setup.packages[0],
            f"packages are installed by apt, which '{cluster.image.os}' lacks",
            "choose an Ubuntu under 'image.os', or include the packages in an image of your own",
        )


@warning("head-node-accelerated")
def _idle(subject: Subject) -> Iterator[Problem]:
    """Slurm gives nobody the accelerators of the head node or of login nodes; they are paid for and idle."""
    cluster = subject.settings.parallelcluster
    if cluster is None:
        return
    nodes = [("head_node", cluster.head_node.instance_type, "the head node")]
    nodes += [
        (f"login.{name}", pool.instance_type, f"login pool '{name}'") for name, pool in cluster.login.items()
    ]
    for key, name, what in nodes:
        found = facts(name)
        if found and found.accelerator:
            yield Problem(
                f"parallelcluster.{key}.instance_type",
                name,
                f"{what} of type '{name}' has accelerators ({found.accelerator.count} {found.accelerator.name}) that "
                "no job can use",
                "choose a type without accelerators",
            )
