"""The kinds of cluster: one record for each, which rules, renderers, stacks and commands look up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from catalog.hyperpod_eks import NAMESPACE
from catalog.pool import DEFAULT_LAYOUT, InterfaceType, Pool

if TYPE_CHECKING:
    from catalog.interfaces import Interface

Scheduler = Literal["slurm", "kubernetes", "batch", "local"]

Resumption = Literal["hyperpod", "requeue", "operator", "retry", ""]
"""`hyperpod`: HyperPod replaces the node and resumes the step; `requeue`: Slurm requeues the job; `operator`: the job's
operator makes its pods again; `retry`: AWS Batch starts another attempt; empty: nothing."""

Login = Literal["sagemaker", "parallelcluster", ""]
"""The service that lists the nodes that people log in to by Session Manager; empty if people cannot log in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterKind:
    """A kind of cluster.

    `name` is its section of the configuration, and what `--on` takes. `title` describes its stack, and `summary` is the
    cluster within a sentence. `formats` are values of `workloads.spec.Format`, the default first. `capacity` are the
    capacity sources that its service can be asked for, and `capacity_hints` the next step where a pool has another.
    `interface_type` is how its nodes attach EFA where a pool does not say it; with `container_interface` the
    container of a job has a network interface of its own. `resumes` is what starts a failed job again. `endpoints` are
    the AWS services that its nodes call, each the last part of `com.amazonaws.REGION.SERVICE`; S3 and DynamoDB have
    gateway endpoints, which every network gets. `stack_id` is the id of its stack and the name of its class, in
    the module `stacks.NAME`; empty where nothing is deployed. `login` is how people log in to its nodes, and
    `instead_of_login` is the advice if they cannot. `sagemaker` is true if SageMaker HyperPod manages its nodes, and
    `directory` if they can use the deployment's directory. `namespace` is the Kubernetes namespace of jobs in
    examples. `new_image` says what a deployment with another machine image of nodes interrupts, and `after_new_image`
    what a person runs next; `{cluster}` is the name of the cluster.
    """

    name: str
    title: str
    summary: str
    scheduler: Scheduler
    formats: tuple[str, ...]
    capacity: tuple[str, ...] = ()
    capacity_hints: Mapping[str, str] = field(default_factory=dict)
    interface_type: InterfaceType = DEFAULT_LAYOUT
    container_interface: bool = False
    resumes: Resumption
    endpoints: tuple[str, ...] = ()
    stack_id: str = ""
    login: Login = ""
    instead_of_login: str = ""
    sagemaker: bool = False
    directory: bool = False
    namespace: str = "training"
    new_image: str = ""
    after_new_image: str = ""

    def layout(self, pool: Pool) -> InterfaceType:
        """Return the layout of EFA interfaces of a pool's nodes: the pool's, else that of the kind of cluster."""
        return pool.interface_type or self.interface_type

    def interfaces(self, pool: Pool) -> tuple[Interface, ...]:
        """Return the interfaces of a pool's node, with room for that of a job's container where it has one.

        Raises:
            UnknownInstanceTypeError: the catalog does not have the pool's instance type.
        """
        # Not at the top, nor below: commands take the names of kinds, and start sooner without the instance types.
        from catalog.instances import instance
        from catalog.interfaces import network_interfaces

        return network_interfaces(
            instance(pool.instance_type), self.layout(pool), spare=self.container_interface
        )

    def addresses(self, pool: Pool) -> int:
        """Return how many private addresses of its subnet a pool's node takes, with that of a job's container.

        Raises:
            UnknownInstanceTypeError: the catalog does not have the pool's instance type.
        """
        from catalog.interfaces import private_addresses

        return private_addresses(self.interfaces(pool)) + self.container_interface

    def has_room(self, pool: Pool) -> bool:
        """Return whether the primary card of a pool's node has room for the interface of a job's container.

        Raises:
            UnknownInstanceTypeError: the catalog does not have the pool's instance type.
        """
        from catalog.instances import instance
        from catalog.interfaces import has_spare

        return not self.container_interface or has_spare(instance(pool.instance_type), self.layout(pool))


_RESERVE = "HyperPod cannot use EC2 reservations: reserve by a training plan"
_BLOCK = "for HyperPod buy a SageMaker training plan; a Capacity Block is for clusters on EC2"
_PLAN = "only SageMaker can use a training plan: list the pool under 'hyperpod.pools', or reserve by a Capacity Block"
_SPOT = (
    "Batch does not run multi-node jobs on Spot capacity; choose on-demand, or a cluster that supports Spot"
)
_HYPERPOD_HINTS = {"reservation": _RESERVE, "reservation-group": _RESERVE, "capacity-block": _BLOCK}
_KUBECTL = (
    "'aws eks update-kubeconfig --name CLUSTER' adds the cluster to kubeconfig, "
    "then 'kubectl exec -it POD -- bash'"
)

# SageMaker guide, "Update the SageMaker HyperPod platform software", of clusters on EKS. CloudFormation's resource says
# of ImageReleaseVersion alone that its update does the same (AWS::SageMaker::Cluster, ClusterInstanceGroup).
HYPERPOD_SOFTWARE = (
    "HyperPod replaces the root volume of the nodes and moves no job away before: what runs on them ends, and what is "
    "on their root volumes is lost"
)
"""The effect of another image, or another release of HyperPod's own, on the nodes that get it."""

_HYPERPOD_IMAGE = (
    "whether CloudFormation's update of 'ImageId' reaches nodes that exist is not documented; where it does, "
    f"{HYPERPOD_SOFTWARE}"
)
_HYPERPOD_STATE = (
    "'aws sagemaker describe-cluster --cluster-name {cluster} --query \"InstanceGroups[].[InstanceGroupName, "
    "CurrentImageId, DesiredImageId, SoftwareUpdateStatus]\"' shows which image each group has"
)
_HYPERPOD_NEXT = (
    "stop the jobs, deploy; "
    + _HYPERPOD_STATE
    + ", and 'aws sagemaker update-cluster-software --cluster-name {cluster} --instance-groups InstanceGroupName=GROUP "
    "--image-id ID' gives it to one that kept the old one ('default' for HyperPod's own)"
)

HYPERPOD = ClusterKind(
    name="hyperpod",
    title="SageMaker HyperPod with Slurm",
    summary="a HyperPod cluster",
    scheduler="slurm",
    formats=("slurm",),
    # botocore: ClusterInstanceGroupSpecification has TrainingPlanArn and CapacityRequirements (Spot, OnDemand), and no
    # reservation of any kind.
    capacity=("on-demand", "spot", "training-plan"),
    capacity_hints=_HYPERPOD_HINTS,
    # EFA that carries IP (botocore: ClusterInterfaceType).
    interface_type="efa",
    resumes="hyperpod",
    # Sessions, metrics and logs of nodes, image pulls, interfaces: those of the isolated-network mode of the reference
    # HyperPod module. And what nodes ask by our own role: fsx for mounting.
    endpoints=(
        "ec2",
        "ec2messages",
        "ecr.api",
        "ecr.dkr",
        "fsx",
        "logs",
        "monitoring",
        "ssm",
        "ssmmessages",
        "sts",
    ),
    stack_id="HyperPodStack",
    new_image=f"{_HYPERPOD_IMAGE}, the controller's with the queue of jobs and the accounts too",
    after_new_image=(
        "save what the controller has on its root volume (docs/machine-images.md), then " + _HYPERPOD_NEXT
    ),
    login="sagemaker",
    sagemaker=True,
    directory=True,
)

HYPERPOD_EKS = ClusterKind(
    name="hyperpod_eks",
    title="SageMaker HyperPod with Amazon EKS",
    summary="a HyperPod cluster on EKS",
    scheduler="kubernetes",
    formats=("hyperpodpytorchjob", "pytorchjob", "trainjob", "mpijob", "jobset", "rayjob"),
    capacity=("on-demand", "spot", "training-plan"),
    capacity_hints=_HYPERPOD_HINTS,
    interface_type="efa",
    resumes="operator",
    # Those of EKS, for nodes that HyperPod brings. Its chart comes from the internet nevertheless
    # (`hyperpod-eks-isolated`).
    endpoints=(
        "ec2",
        "ec2messages",
        "ecr.api",
        "ecr.dkr",
        "eks",
        "eks-auth",
        "logs",
        "ssm",
        "ssmmessages",
        "sts",
    ),
    stack_id="HyperPodEksStack",
    new_image=_HYPERPOD_IMAGE,
    after_new_image=_HYPERPOD_NEXT,
    instead_of_login=_KUBECTL,
    sagemaker=True,
    # HyperPod resumes PyTorchJobs in namespaces of such names only (catalog.kubernetes).
    namespace=NAMESPACE,
)

PARALLELCLUSTER = ClusterKind(
    name="parallelcluster",
    title="Slurm by AWS ParallelCluster",
    summary="a ParallelCluster",
    scheduler="slurm",
    formats=("slurm",),
    # aws-parallelcluster, schemas: CapacityType (ONDEMAND, SPOT, CAPACITY_BLOCK) and CapacityReservationTarget.
    capacity=("on-demand", "spot", "reservation", "reservation-group", "capacity-block"),
    capacity_hints={"training-plan": _PLAN},
    # EFA beside an interface that carries IP (aws-parallelcluster, templates/queues_stack.py).
    interface_type="efa-only",
    resumes="requeue",
    # AWS ParallelCluster User Guide, "AWS ParallelCluster in a single subnet with no internet access": CloudFormation,
    # EC2 and logs, and for login nodes Auto Scaling and Elastic Load Balancing. And sessions, images, the metrics of
    # the CloudWatch agent, and what jobs ask by the nodes' role.
    endpoints=(
        "autoscaling",
        "cloudformation",
        "ec2",
        "ec2messages",
        "ecr.api",
        "ecr.dkr",
        "elasticloadbalancing",
        "logs",
        "monitoring",
        "ssm",
        "ssmmessages",
        "sts",
    ),
    stack_id="ParallelClusterStack",
    # aws-parallelcluster, schemas: the image of a queue has the policy QUEUE_UPDATE_STRATEGY.
    new_image="compute nodes are replaced as 'slurm.update_strategy' says, head and login nodes are not",
    after_new_image="deploy; 'sinfo --Node --long' on a login node shows the nodes that still have the old image",
    login="parallelcluster",
    directory=True,
)

EKS = ClusterKind(
    name="eks",
    title="Amazon EKS",
    summary="an EKS cluster",
    scheduler="kubernetes",
    formats=("trainjob", "pytorchjob", "mpijob", "jobset", "rayjob"),
    # botocore: eks CapacityTypes (ON_DEMAND, SPOT, CAPACITY_BLOCK); the launch template targets reservations.
    capacity=("on-demand", "spot", "reservation", "reservation-group", "capacity-block"),
    capacity_hints={"training-plan": _PLAN},
    resumes="operator",
    # EKS User Guide, "Deploy private clusters with limited internet access": node names, images, logs, and the
    # credentials of pods. And sessions; and the function that applies our objects, which another calls from inside
    # the network (aws-cdk-lib, KubectlProvider).
    endpoints=(
        "ec2",
        "ec2messages",
        "ecr.api",
        "ecr.dkr",
        "eks",
        "eks-auth",
        "lambda",
        "logs",
        "ssm",
        "ssmmessages",
        "sts",
    ),
    stack_id="EksStack",
    # botocore, eks: UpdateNodegroupVersion drains each node before it ends, and fails where it cannot (`force`);
    # NodegroupUpdateConfig has the number of nodes at a time.
    new_image="EKS replaces nodes, and evicts their pods: jobs start again from a checkpoint",
    after_new_image=(
        "deploy; 'aws eks list-updates --name {cluster} --nodegroup-name GROUP' names the update of a node group, and "
        "'aws eks describe-update' says why it failed: 'PodEvictionFailure' where a disruption budget keeps a pod, for "
        "which there is 'eks.updates.force'"
    ),
    instead_of_login=_KUBECTL,
)

BATCH = ClusterKind(
    name="batch",
    title="AWS Batch for jobs of many nodes",
    summary="AWS Batch",
    scheduler="batch",
    formats=("batch",),
    # Batch User Guide, "Compute environment considerations for MNP": no Spot; the launch template names reservations.
    capacity=("on-demand", "reservation", "reservation-group", "capacity-block"),
    capacity_hints={"training-plan": _PLAN, "spot": _SPOT},
    container_interface=True,
    resumes="retry",
    # AWS Batch User Guide, "Access AWS Batch using an interface endpoint": the agent of ECS, images, logs. And secrets
    # of jobs, and sessions.
    endpoints=(
        "ec2messages",
        "ecr.api",
        "ecr.dkr",
        "ecs",
        "ecs-agent",
        "ecs-telemetry",
        "logs",
        "secretsmanager",
        "ssm",
        "ssmmessages",
    ),
    stack_id="BatchStack",
    # Batch User Guide, "Performing blue/green updates"; trainforge.batch.queue replaces environments.
    new_image=(
        "another compute environment takes new jobs, and the old one is deleted: jobs on it end, and are tried again "
        "where Batch counts their host as lost"
    ),
    after_new_image=(
        "deploy when 'aws batch list-jobs --job-queue QUEUE --job-status RUNNING' is empty for each queue; submit jobs "
        "again that ended as FAILED"
    ),
    instead_of_login=(
        "a job's output is in CloudWatch: 'aws logs tail LOG_GROUP --follow'; 'trainforge launch' names both"
    ),
)

LOCAL = ClusterKind(
    name="local",
    title="This machine",
    summary="this machine",
    scheduler="local",
    formats=("local",),
    resumes="",
    instead_of_login="it is the machine that you are on",
)

KINDS: Mapping[str, ClusterKind] = MappingProxyType(
    {kind.name: kind for kind in (HYPERPOD, HYPERPOD_EKS, PARALLELCLUSTER, EKS, BATCH, LOCAL)}
)
"""Every kind by its name, in the order in which lists show them."""

CLUSTERS = tuple(kind.name for kind in KINDS.values() if kind.stack_id)
"""The kinds that are deployed: each is a section of the configuration and a stack."""

SLURM = tuple(kind.name for kind in KINDS.values() if kind.scheduler == "slurm")
"""The kinds with Slurm: jobs are submitted on a node, from files that it sees, and accounts are kept."""

KUBERNETES = tuple(kind.name for kind in KINDS.values() if kind.scheduler == "kubernetes")
"""The kinds with Kubernetes: jobs are objects, and a stack can start them."""

SAGEMAKER = tuple(kind.name for kind in KINDS.values() if kind.sagemaker)
"""The kinds whose nodes SageMaker HyperPod manages."""

LOGIN = tuple(kind.name for kind in KINDS.values() if kind.login)
"""The kinds with nodes that people log in to."""

DIRECTORY = tuple(kind.name for kind in KINDS.values() if kind.directory)
"""The kinds whose nodes can use the deployment's directory."""
