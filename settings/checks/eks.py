"""Rules on an EKS cluster: its version, zones, endpoint, and who may use it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network

from catalog.eks import ENDING, FEWEST_ZONES, KUBERNETES_VERSIONS, STANDARD_SUPPORT_ENDS
from catalog.hyperpod_eks import KUBERNETES_VERSIONS as HYPERPOD_VERSIONS
from settings.checks.rule import Problem, Subject, error, warning
from settings.checks.selection import kubernetes
from settings.parser.values import guess, listed, shown
from settings.sections.eks import AccessSettings, EndpointSettings

_PRINCIPAL = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[\w+=,.@/-]{1,576}", re.ASCII)
_ASSUMED = re.compile(r"arn:aws[a-z-]*:sts::[0-9]{12}:assumed-role/.*", re.ASCII)
# Kubernetes, "Object names and IDs": a label as RFC 1123 has it.
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_ANYWHERE = IPv4Network("0.0.0.0/0")
# Addresses that nobody on the internet has: RFC 1918, and RFC 6598's shared ones.
_UNROUTED = tuple(
    IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)


@error("eks-version", too_strict=True)
def _version(subject: Subject) -> Iterator[Problem]:
    """EKS makes clusters of the Kubernetes versions that it supports.

    Source: catalog.eks. Too strict where EKS has added a version since.
    """
    for cluster, section in kubernetes(subject.settings):
        version = section.kubernetes_version
        if version not in KUBERNETES_VERSIONS:
            yield Problem(
                f"{cluster}.kubernetes_version",
                version,
                f"EKS takes no new cluster of the Kubernetes version '{shown(version)}'"
                f"{guess(version, KUBERNETES_VERSIONS)}",
                f"versions: {listed(KUBERNETES_VERSIONS)}; 'aws eks describe-cluster-versions' lists those of today",
            )


@warning("eks-version-ending")
def _version_ending(subject: Subject) -> Iterator[Problem]:
    """After standard support a version costs extra for a year, and then the control plane is moved on."""
    for cluster, section in kubernetes(subject.settings):
        wanted = section.kubernetes_version
        ends = STANDARD_SUPPORT_ENDS.get(wanted, "")
        later = [version for version, end in STANDARD_SUPPORT_ENDS.items() if end > ENDING]
        if cluster == "hyperpod_eks":
            # What HyperPod does not support is no way out, and its newest version no mistake.
            later = [version for version in later if version in HYPERPOD_VERSIONS]
        # Dates of ISO 8601 sort as text; 'unknown' comes after every one of them.
        if ends and ends <= ENDING and (later or wanted != HYPERPOD_VERSIONS[-1]):
            yield Problem(
                f"{cluster}.kubernetes_version",
                wanted,
                f"standard support of Kubernetes '{wanted}' ends on {ends}; from then on EKS charges "
                "for extended support",
                f"take {listed(later or HYPERPOD_VERSIONS[-1:])}",
            )


@error("eks-zones", leans_on=("availability_zones",))
def _zones(subject: Subject) -> Iterator[Problem]:
    """A control plane has subnets in two zones at least (EKS User Guide, "VPC and subnet requirements").

    Pools stay in one each.
    """
    zones = subject.settings.availability_zones
    if any(kubernetes(subject.settings)) and len(set(zones)) < FEWEST_ZONES:
        yield Problem(
            "availability_zones",
            len(zones),
            f"an EKS control plane needs subnets in {FEWEST_ZONES} zones, and the deployment has {len(zones)}",
            "add a zone; pools stay where they are",
        )


@error("eks-endpoint-open")
def _endpoint_open(subject: Subject) -> Iterator[Problem]:
    """Without ranges, or with all addresses among them, the whole internet reaches the Kubernetes API."""
    for cluster, section in kubernetes(subject.settings):
        if section.endpoint.public:
            yield from _opened(f"{cluster}.endpoint", section.endpoint)


def _opened(path: str, endpoint: EndpointSettings) -> Iterator[Problem]:
    if not endpoint.allowed_addresses:
        yield Problem(
            f"{path}.public",
            True,
            "the public endpoint has no 'allowed_addresses', and EKS would open it to everybody",
            "name the ranges that may reach it, or set 'public: false'",
        )
    for index, block in enumerate(endpoint.allowed_addresses):
        if block == _ANYWHERE:
            yield Problem(
                f"{path}.allowed_addresses.{index}",
                block,
                f"'{block}' opens the Kubernetes API to everybody",
                "name the ranges of your own network",
            )


@error("eks-endpoint-private")
def _endpoint_private(subject: Subject) -> Iterator[Problem]:
    """The public endpoint sees public addresses; EKS refuses ranges that the internet does not route."""
    for cluster, section in kubernetes(subject.settings):
        for index, block in enumerate(section.endpoint.allowed_addresses):
            if any(block.subnet_of(unrouted) for unrouted in _UNROUTED):
                yield Problem(
                    f"{cluster}.endpoint.allowed_addresses.{index}",
                    block,
                    f"the range '{block}' is private, and nobody comes to the public endpoint from it",
                    "name the public addresses of your way out; from the VPC the API is reached anyway",
                )


@warning("eks-endpoint-unused")
def _endpoint_unused(subject: Subject) -> Iterator[Problem]:
    """Ranges limit the public endpoint; without one they open nothing."""
    for cluster, section in kubernetes(subject.settings):
        if section.endpoint.allowed_addresses and not section.endpoint.public:
            yield Problem(
                f"{cluster}.endpoint.allowed_addresses",
                len(section.endpoint.allowed_addresses),
                "there is no public endpoint, so these ranges reach nothing",
                "set 'public: true', or remove them",
            )


@error("eks-access-principal")
def _principals(subject: Subject) -> Iterator[Problem]:
    """An access entry is for a role or a user of IAM, one entry each (EKS User Guide, "access entries")."""
    for cluster, section in kubernetes(subject.settings):
        yield from _admitted(f"{cluster}.access", section.access)


def _admitted(path: str, admitted: Sequence[AccessSettings]) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for index, access in enumerate(admitted):
        arn = access.principal_arn
        if not _PRINCIPAL.fullmatch(arn):
            session = _ASSUMED.fullmatch(arn)
            yield Problem(
                f"{path}.{index}.principal_arn",
                arn,
                f"'{shown(arn)}' is not the ARN of an IAM role or user",
                "take the role that the session is of, 'arn:aws:iam::ACCOUNT:role/NAME'"
                if session
                else "write 'arn:aws:iam::ACCOUNT:role/NAME'",
            )
        elif arn in seen:
            yield Problem(
                f"{path}.{index}.principal_arn",
                arn,
                f"'{shown(arn)}' has access already, at '{path}.{seen[arn]}'",
                "give it one policy",
            )
        seen.setdefault(arn, index)


@warning("eks-access-none")
def _access_none(subject: Subject) -> Iterator[Problem]:
    """Nobody has access by having made the cluster: CloudFormation made it."""
    for cluster, section in kubernetes(subject.settings):
        if not section.access:
            yield Problem(
                f"{cluster}.access",
                0,
                "nobody may use the Kubernetes API",
                f"name roles under '{cluster}.access', or add access entries by hand when the cluster stands",
            )


@error("eks-namespace")
def _namespace(subject: Subject) -> Iterator[Problem]:
    """A namespace is a DNS label, and names that begin with `kube-` are Kubernetes' own."""
    for cluster, section in kubernetes(subject.settings):
        named = [(f"{cluster}.namespace", section.namespace)]
        for index, access in enumerate(section.access):
            named += [
                (f"{cluster}.access.{index}.namespaces.{number}", name)
                for number, name in enumerate(access.namespaces)
            ]
        for path, name in named:
            if not _NAMESPACE.fullmatch(name):
                yield Problem(
                    path,
                    name,
                    f"the namespace '{shown(name)}' is not 1 to 63 lower case letters, digits and dashes that "
                    "begin and end with a letter or digit",
                )
        if section.namespace.startswith("kube-"):
            yield Problem(
                f"{cluster}.namespace",
                section.namespace,
                f"'{section.namespace}' is for Kubernetes itself",
                "choose another",
            )
