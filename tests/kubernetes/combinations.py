"""Configurations with Kubernetes: those of config/, and one for each combination of options that changes objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

STACKS = ("EksStack", "HyperPodEksStack")

CONFIGURATIONS = ("config/eks.yaml", "config/eks-capacity-block.yaml", "config/hyperpod-eks.yaml")

ACCESS = 'access: [{principal_arn: "arn:aws:iam::111122223333:role/platform"}]'
LUSTRE = "storage: {lustre: {capacity_gib: 1200}}"
POOLS: Mapping[str, str] = {
    "cpu": "{instance_type: c6i.4xlarge, nodes: 2}",
    # EFA, huge pages and three network layers
    "gpu": "{instance_type: p5.48xlarge, nodes: 2}",
    "neuron": "{instance_type: trn1.32xlarge, nodes: 2}",
}


def configuration(*sections: str, pools: Iterable[str], storage: str = LUSTRE) -> str:
    """Return a configuration as text: its pools by their names in `POOLS`, and its clusters' sections."""
    lines = [
        "name: demo",
        "region: us-west-2",
        "availability_zones: [us-west-2a, us-west-2b]",
        "pools:",
        *(f"  {name}: {POOLS[name]}" for name in pools),
        *([storage] if storage else []),
        *sections,
    ]
    return "\n".join(lines) + "\n"


def eks(pools: Iterable[str], software: str = "", *, more: str = "") -> str:
    """Return the section of an EKS cluster; `software` and `more` are members of it as YAML's flow."""
    listed = ", ".join(pools)
    software = f", software: {{{software}}}" if software else ""
    return f"eks: {{pools: [{listed}], {ACCESS}{software}{more and ', ' + more}}}"


def hyperpod_eks(pools: Iterable[str], *, more: str = "") -> str:
    """Return the section of a HyperPod EKS cluster."""
    return f"hyperpod_eks: {{pools: [{', '.join(pools)}], {ACCESS}{more and ', ' + more}}}"


def queues(pools: Iterable[str]) -> str:
    """Return two queues with a node of each pool."""
    nodes = ", ".join(f"{pool}: 1" for pool in pools)
    return f"queues: {{research: {{nodes: {{{nodes}}}}}, other: {{nodes: {{{nodes}}}, borrow: false}}}}"


_ALL = "jobs: [trainer, training-operator, mpi-operator, kuberay]"
_TAINTS = "taints: {gpu: [{key: nvidia.com/gpu, value: 'true'}]}"
_OWN_OFF = "dependencies: {training_operator: false, mpi_operator: false}, training_operator: false"
_GOVERNED = "task_governance: {priorities: {production: 100}, teams: {alpha: {nodes: {gpu: 1}}}}"

# Objects of the two clusters do not depend on each other, so that one synthesis serves a choice of each.
COMBINATIONS: Mapping[str, str] = {
    "no operator; HyperPod's own operators and governance": configuration(
        eks(["cpu"], "jobs: []"),
        hyperpod_eks(["gpu"], more=f"{_GOVERNED}, {_TAINTS}"),
        pools=["cpu", "gpu"],
    ),
    "no operator, queues; HyperPod without operators": configuration(
        eks(["cpu"], f"jobs: [], {queues(['cpu'])}"),
        hyperpod_eks(["neuron"], more=f"{_OWN_OFF}, trainer: false"),
        pools=["cpu", "neuron"],
    ),
    "trainer, EFA; HyperPod with Trainer alone": configuration(
        eks(["gpu"], "jobs: [trainer]"),
        hyperpod_eks(["cpu"], more=f"{_OWN_OFF}, bucket_claim: false"),
        pools=["gpu", "cpu"],
    ),
    "trainer, queues, Neuron": configuration(
        eks(["neuron"], f"jobs: [trainer], bucket_claim: false, {queues(['neuron'])}"), pools=["neuron"]
    ),
    "training operator, Neuron": configuration(
        eks(["neuron"], "jobs: [training-operator]"), pools=["neuron"]
    ),
    "training operator, queues, EFA": configuration(
        eks(["gpu"], f"jobs: [training-operator], {queues(['gpu'])}"), pools=["gpu"], storage=""
    ),
    "MPI operator in the default namespace": configuration(
        eks(["gpu", "cpu"], "jobs: [mpi-operator]", more="namespace: default"), pools=["gpu", "cpu"]
    ),
    "MPI operator, queues": configuration(
        eks(["cpu"], f"jobs: [mpi-operator], {queues(['cpu'])}"), pools=["cpu"]
    ),
    "KubeRay alone; HyperPod with KubeRay": configuration(
        eks(["cpu"], "jobs: [kuberay]"),
        hyperpod_eks(["gpu"], more="jobs: [kuberay]"),
        pools=["cpu", "gpu"],
    ),
    "KubeRay, queues": configuration(
        eks(["cpu"], f"jobs: [kuberay], {queues(['cpu'])}"), pools=["cpu"], storage=""
    ),
    "all operators, no queues, no storage": configuration(
        eks(["cpu", "neuron"], f"{_ALL}, bucket_claim: false"), pools=["cpu", "neuron"], storage=""
    ),
    "all operators, queues, three kinds of pools": configuration(
        eks(["cpu", "gpu", "neuron"], f"{_ALL}, {queues(['cpu', 'gpu', 'neuron'])}"),
        pools=["cpu", "gpu", "neuron"],
    ),
}
"""Configurations by what they combine."""
