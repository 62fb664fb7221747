"""Rules on what ParallelCluster's official images lack: an agent for sessions, drivers."""

from __future__ import annotations

from collections.abc import Iterator

from settings.checks.rule import Problem, Subject, error
from settings.checks.selection import facts
from settings.parser.values import shown

_WITHOUT_AGENT = ("rhel8", "rhel9")
"""Systems whose AMIs have no SSM agent, and for which ParallelCluster's recipes install none. Sources: Systems Manager
user guide, "AMIs with SSM Agent preinstalled"; aws-parallelcluster-cookbook, which does not mention the agent."""


@error("image-session", leans_on=("parallelcluster.image",))
def _session(subject: Subject) -> Iterator[Problem]:
    """Session Manager reaches a node by its agent. Without agent, key or open port nobody can log in anywhere."""
    wanted = subject.settings.parallelcluster
    if wanted is None or wanted.image.ami_id is not None or wanted.image.os not in _WITHOUT_AGENT:
        return
    if not (wanted.ssh.key_name and wanted.ssh.allowed_addresses):
        yield Problem(
            "parallelcluster.image.os",
            wanted.image.os,
            f"ParallelCluster's image of '{wanted.image.os}' has no SSM agent, so that no session reaches a node, and "
            "SSH lets nobody in",
            "give 'ssh.key_name' and 'ssh.allowed_addresses', or an image of your own with the agent as "
            "'image.ami_id', or choose an Ubuntu or 'alinux2023'",
        )


@error("image-neuron", leans_on=("parallelcluster.pools", "pools", "parallelcluster.image"))
def _neuron(subject: Subject) -> Iterator[Problem]:
    """Official images have NVIDIA's driver and none for Trainium and Inferentia: no device appears, and no job runs.

    Source: aws-parallelcluster-cookbook, whose recipes do not mention Neuron; AWS's Neuron samples for ParallelCluster
    install the driver by a script of their own, from a package repository that is not the operating system's.
    """
    wanted = subject.settings.parallelcluster
    if wanted is None or wanted.image.ami_id is not None:
        return
    for index, name in enumerate(wanted.pools):
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
