"""The configuration of a ParallelCluster, built from data types. Pure: it needs neither AWS nor the CDK."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from catalog.parallelcluster import Monitoring, SlurmOptions
from trainforge.parallelcluster.node_actions import NodeActions
from trainforge.parallelcluster.queues import Queue, QueueDefaults, Section, iam_section, queue_section
from trainforge.parallelcluster.services import CA_CERTIFICATE_PATH, AccountingDatabase, Directory

HOME_NAME = "home"
LUSTRE_NAME = "fsx"


@dataclass(frozen=True, slots=True)
class LustreStorage:
    """An FSx for Lustre file system by id, and where nodes mount it."""

    file_system_id: str
    path: str


@dataclass(frozen=True, slots=True)
class HomeStorage:
    """A volume of an FSx for OpenZFS file system by id (`fsvol-...`), and where nodes mount it."""

    volume_id: str
    path: str


@dataclass(frozen=True, slots=True)
class Nodes:
    """The settings of head node and login nodes: network, security groups, policies and actions."""

    subnet_id: str
    security_group_ids: tuple[str, ...]
    policy_arns: tuple[str, ...] = ()
    actions: NodeActions = field(default_factory=NodeActions)


@dataclass(frozen=True, slots=True)
class HeadNode:
    """The node of slurmctld. `key_name` is an EC2 key pair for SSH, empty for none: sessions need no key."""

    instance_type: str
    volume_gib: int
    nodes: Nodes
    key_name: str = ""


@dataclass(frozen=True, slots=True)
class LoginPool:
    """Nodes that people log in to, behind one load balancer."""

    name: str
    instance_type: str
    count: int
    nodes: Nodes


@dataclass(frozen=True, slots=True)
class Image:
    """The operating system by ParallelCluster's name, and the id of a custom image; empty for the official one."""

    os: str
    custom_ami: str = ""


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """The plan of a cluster, with the ids of existing resources; they may be CDK tokens.

    `iam_path` is the path of all roles and profiles that ParallelCluster makes, so that its provider can be limited to
    it. `tags` are on every resource of the cluster: CDK's own reach the stack around it and not the cluster's.
    `isolated` is a network without internet access, where Route 53 cannot be reached. `legacy_efa` asks for
    combined EFA interfaces, which take an address each, in place of `efa-only` ones. With `keep_logs` the log group
    outlives the cluster.
    """

    region: str
    iam_path: str
    image: Image
    head: HeadNode
    queues: tuple[Queue, ...]
    queue_defaults: QueueDefaults = field(default_factory=QueueDefaults)
    login_pools: tuple[LoginPool, ...] = ()
    lustre: LustreStorage | None = None
    home: HomeStorage | None = None
    slurm: SlurmOptions = field(default_factory=SlurmOptions)
    monitoring: Monitoring = field(default_factory=Monitoring)
    keep_logs: bool = False
    accounting: AccountingDatabase | None = None
    directory: Directory | None = None
    isolated: bool = False
    legacy_efa: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)


def cluster_configuration(plan: ClusterPlan) -> dict[str, Any]:
    """Return the cluster configuration that `pcluster create-cluster` takes, as plain values."""
    configuration: Section = {
        "Region": plan.region,
        "Image": {
            "Os": plan.image.os,
            **({"CustomAmi": plan.image.custom_ami} if plan.image.custom_ami else {}),
        },
        "Imds": {"ImdsSupport": "v2.0"},
        "Iam": {"ResourcePrefix": plan.iam_path},
        "HeadNode": _head(plan),
        "Scheduling": _scheduling(plan),
        "Monitoring": _monitoring(plan),
    }
    if tags := _tags(plan.tags):
        configuration["Tags"] = tags
    if plan.login_pools:
        configuration["LoginNodes"] = {"Pools": [_login_pool(pool, plan) for pool in plan.login_pools]}
    storage = _storage(plan)
    if storage:
        configuration["SharedStorage"] = storage
    if plan.directory:
        configuration["DirectoryService"] = _directory(plan.directory)
    if plan.legacy_efa:
        configuration["DevSettings"] = {"EfaInterfaceType": "efa"}
    return configuration


def _tags(tags: Mapping[str, str]) -> list[Section]:
    """Return tags, without `Name`: ParallelCluster gives nodes one, and EC2 refuses two of a key.

    Source: aws-parallelcluster, templates/cdk_builder_utils.py (get_default_instance_tags), templates/cluster_stack.py.
    """
    return [{"Key": key, "Value": value} for key, value in tags.items() if key != "Name"]


def _groups(nodes: Nodes, plan: ClusterPlan, *more: str) -> list[str]:
    directory = plan.directory.client_security_group_id if plan.directory else ""
    return [group for group in dict.fromkeys((*nodes.security_group_ids, directory, *more)) if group]


def _head(plan: ClusterPlan) -> Section:
    head = plan.head
    database = plan.accounting.client_security_group_id if plan.accounting else ""
    return {
        "InstanceType": head.instance_type,
        "Networking": {
            "SubnetId": head.nodes.subnet_id,
            "SecurityGroups": _groups(head.nodes, plan, database),
        },
        **({"Ssh": {"KeyName": head.key_name}} if head.key_name else {}),
        "LocalStorage": {"RootVolume": {"Size": head.volume_gib, "Encrypted": True}},
        # Only root and the cluster's own account reach the credentials of the node that may end all others.
        "Imds": {"Secured": True},
        **iam_section(head.nodes.policy_arns),
        **head.nodes.actions.of_permanent_nodes(),
    }


def _login_pool(pool: LoginPool, plan: ClusterPlan) -> Section:
    return {
        "Name": pool.name,
        "InstanceType": pool.instance_type,
        "Count": pool.count,
        "Networking": {
            "SubnetIds": [pool.nodes.subnet_id],
            "SecurityGroups": _groups(pool.nodes, plan),
        },
        **iam_section(pool.nodes.policy_arns),
        **pool.nodes.actions.of_permanent_nodes(),
    }


def _scheduling(plan: ClusterPlan) -> Section:
    directory = plan.directory.client_security_group_id if plan.directory else ""
    queues = [queue_section(queue, plan.queue_defaults) for queue in plan.queues]
    if directory:
        for queue in queues:
            queue["Networking"]["SecurityGroups"].append(directory)
    return {"Scheduler": "slurm", "SlurmSettings": _slurm(plan), "SlurmQueues": queues}


def _slurm(plan: ClusterPlan) -> Section:
    settings = [dict(line) for line in plan.slurm.settings]
    section: Section = {
        "ScaledownIdletime": plan.slurm.idle_minutes,
        "QueueUpdateStrategy": plan.slurm.update_strategy.upper().replace("-", "_"),
    }
    if plan.isolated:
        # Route 53 has no endpoint in a VPC, so nodes go by the names that EC2 gives them.
        section["Dns"] = {"DisableManagedDns": True, "UseEc2Hostnames": True}
    if plan.accounting:
        database = plan.accounting
        section["Database"] = {
            "Uri": database.uri,
            "UserName": database.user_name,
            "PasswordSecretArn": database.password_secret_arn,
            **({"DatabaseName": database.name} if database.name else {}),
        }
        # Slurm reads names of settings without regard to case.
        if "accountingstoragetres" not in {name.lower() for line in settings for name in line}:
            # GPUs are accounted for only when they are named.
            settings.append({"AccountingStorageTRES": "gres/gpu"})
    if settings:
        section["CustomSlurmSettings"] = settings
    return section


def _monitoring(plan: ClusterPlan) -> Section:
    monitoring = plan.monitoring
    return {
        "DetailedMonitoring": monitoring.detailed,
        "Logs": {
            "CloudWatch": {
                "Enabled": True,
                "RetentionInDays": monitoring.log_days,
                "DeletionPolicy": "Retain" if plan.keep_logs else "Delete",
            }
        },
        "Dashboards": {"CloudWatch": {"Enabled": monitoring.dashboard}},
        "Alarms": {"Enabled": monitoring.alarms},
    }


def _storage(plan: ClusterPlan) -> list[Section]:
    storage: list[Section] = []
    if plan.home:
        storage.append(
            {
                "Name": HOME_NAME,
                "StorageType": "FsxOpenZfs",
                "MountDir": plan.home.path,
                "FsxOpenZfsSettings": {"VolumeId": plan.home.volume_id},
            }
        )
    if plan.lustre:
        storage.append(
            {
                "Name": LUSTRE_NAME,
                "StorageType": "FsxLustre",
                "MountDir": plan.lustre.path,
                "FsxLustreSettings": {"FileSystemId": plan.lustre.file_system_id},
            }
        )
    return storage


def _directory(directory: Directory) -> Section:
    section: Section = {
        "DomainName": directory.domain_name,
        "DomainAddr": ",".join(directory.addresses),
        "PasswordSecretArn": directory.password_secret_arn,
        "DomainReadOnlyUser": directory.read_only_user,
        "LdapTlsReqCert": "hard",
        "GenerateSshKeysForUsers": True,
    }
    if directory.ca_certificate_source:
        section["LdapTlsCaCert"] = CA_CERTIFICATE_PATH
    if directory.access_filter:
        section["LdapAccessFilter"] = directory.access_filter
    if directory.additional_sssd:
        section["AdditionalSssdConfigs"] = dict(directory.additional_sssd)
    return section
