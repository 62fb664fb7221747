"""The builder: what a plan becomes in ParallelCluster's spelling."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from catalog.instances import INSTANCES
from catalog.login_users import login_user
from catalog.pool import CapacityBlock, OnDemand, Pool, Reservation, ReservationGroup, Spot
from settings.deployment import Settings
from stacks.parallelcluster_plan import ExistingResources, cluster_plan, node_configuration
from tests.unit.configuration import GROUP, changed
from trainforge.parallelcluster.configuration import cluster_configuration
from trainforge.parallelcluster.node_actions import CustomAction, NodeActions
from trainforge.parallelcluster.queues import (
    ComputeResource,
    Queue,
    QueueDefaults,
    queue_section,
)
from trainforge.parallelcluster.services import CA_CERTIFICATE_PATH, AccountingDatabase, Directory

RESERVATION = "cr-0123456789abcdef0"
CLUSTER = {"hyperpod": None, "parallelcluster": {"pools": ["gpu"]}}
DATABASE = AccountingDatabase("db.internal:3306", "slurm", "arn:aws:secretsmanager:::secret:db", "sg-db")
DIRECTORY = Directory(
    domain_name="dc=demo,dc=internal",
    addresses=("ldaps://one", "ldaps://two"),
    read_only_user="cn=reader,dc=demo,dc=internal",
    password_secret_arn="arn:aws:secretsmanager:::secret:reader",
    ca_certificate_source="s3://bucket/ca.pem",
    client_security_group_id="sg-ldap",
    access_filter="(memberOf=x)",
    additional_sssd={"enumerate": "true"},
)


def settings(changes: Mapping[str, Any] | None = None) -> Settings:
    return Settings.model_validate(changed(CLUSTER | dict(changes or {})))


def configuration(
    changes: Mapping[str, Any] | None = None, existing: ExistingResources | None = None
) -> dict[str, Any]:
    chosen = settings(changes)
    return cluster_configuration(cluster_plan(chosen, existing or ExistingResources.example(chosen)))


def pool(**changes: Any) -> Pool:
    values: dict[str, Any] = {
        "name": "gpu",
        "instance_type": "p5.48xlarge",
        "nodes": 4,
        "availability_zone": "us-west-2a",
        "capacity": OnDemand(),
    }
    return Pool(**values | changes)


def queue(*pools: Pool, defaults: QueueDefaults | None = None) -> dict[str, Any]:
    resources = tuple(ComputeResource(item, item.nodes if item.reserved_by else 0) for item in pools)
    return queue_section(Queue("gpu", resources, "subnet-1", ("sg-1",)), defaults or QueueDefaults())


def resource(chosen: Pool, **defaults: Any) -> dict[str, Any]:
    [found] = queue(chosen, defaults=QueueDefaults(**defaults))["ComputeResources"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("capacity", "kind", "kept", "target"),
    [
        (OnDemand(), "ONDEMAND", 0, None),
        (Spot(), "SPOT", 0, None),
        (Reservation(RESERVATION), "ONDEMAND", 4, {"CapacityReservationId": RESERVATION}),
        (ReservationGroup(GROUP), "ONDEMAND", 4, {"CapacityReservationResourceGroupArn": GROUP}),
        (CapacityBlock(RESERVATION), "CAPACITY_BLOCK", 4, {"CapacityReservationId": RESERVATION}),
    ],
)
def test_the_capacity_source(capacity: Any, kind: str, kept: int, target: Any) -> None:
    assert queue(pool(capacity=capacity))["CapacityType"] == kind
    found = resource(pool(capacity=capacity))
    assert (found["MinCount"], found["MaxCount"]) == (kept, 4)
    assert found.get("CapacityReservationTarget") == target


@pytest.mark.parametrize(
    ("capacity", "instance_type", "nodes", "efa", "group"),
    [
        (OnDemand(), "p5.48xlarge", 4, True, True),
        (OnDemand(), "p5.48xlarge", 1, True, False),
        (Reservation(RESERVATION), "p5.48xlarge", 4, True, False),
        # A block is placed by itself: with a group, whatever it says, ParallelCluster warns.
        (CapacityBlock(RESERVATION), "p5.48xlarge", 4, True, None),
        (Spot(), "g5.8xlarge", 4, True, False),
        (OnDemand(), "g5.xlarge", 4, False, None),
    ],
)
def test_efa_and_placement_follow_the_catalog(
    capacity: Any, instance_type: str, nodes: int, efa: bool, group: bool | None
) -> None:
    found = resource(pool(capacity=capacity, instance_type=instance_type, nodes=nodes))
    assert ("Efa" in found) is efa
    placement = found.get("Networking", {}).get("PlacementGroup")
    assert placement == (None if group is None else {"Enabled": group})


@pytest.mark.parametrize("name", [name for name, facts in INSTANCES.items() if facts.sockets])
def test_sockets_cores_and_threads_make_the_cpus_that_parallelcluster_writes(name: str) -> None:
    """Slurm resets CPUs where the product is another number."""
    facts = INSTANCES[name]
    for threads in (None, 1):
        found = resource(pool(instance_type=name, threads_per_core=threads))
        lines = found["CustomSlurmSettings"]
        # DisableSimultaneousMultithreading makes ParallelCluster write the cores.
        cpus = facts.cores if found.get("DisableSimultaneousMultithreading") else facts.vcpus
        assert lines["Sockets"] * lines["CoresPerSocket"] * lines["ThreadsPerCore"] == cpus
        assert "CPUs" not in lines


def test_threads_are_switched_off_only_where_a_core_has_several() -> None:
    for name, threads in (("c6i.4xlarge", 2), ("hpc7a.96xlarge", 1)):
        assert INSTANCES[name].threads_per_core == threads
        found = resource(pool(instance_type=name, threads_per_core=1))
        assert found.get("DisableSimultaneousMultithreading") == (True if threads == 2 else None)
    assert "DisableSimultaneousMultithreading" not in resource(pool(instance_type="c6i.4xlarge"))


def test_a_type_of_unknown_sockets_has_no_topology() -> None:
    assert INSTANCES["c6i.4xlarge"].sockets is None
    assert "CustomSlurmSettings" not in resource(pool(instance_type="c6i.4xlarge"))


@pytest.mark.parametrize(
    ("instance_type", "asked", "checked"),
    [
        ("p5.48xlarge", True, True),
        ("p5.48xlarge", False, False),
        ("c6i.4xlarge", True, False),
        ("trn1.32xlarge", True, False),
    ],
)
def test_gpus_are_checked_where_there_are_some(instance_type: str, asked: bool, checked: bool) -> None:
    assert ("HealthChecks" in resource(pool(instance_type=instance_type), gpu_health_checks=asked)) is checked


def test_pools_that_share_a_queue_are_its_compute_resources_and_the_largest_volume_counts() -> None:
    found = queue(pool(volume_gib=100), pool(name="more", volume_gib=300))
    assert [item["Name"] for item in found["ComputeResources"]] == ["gpu", "more"]
    assert found["ComputeSettings"]["LocalStorage"]["RootVolume"] == {"Size": 300, "Encrypted": True}
    assert found["Networking"] == {"SubnetIds": ["subnet-1"], "SecurityGroups": ["sg-1"]}


def test_the_whole_is_plain_values() -> None:
    found = configuration()
    assert json.loads(json.dumps(found)) == found


def test_nodes_need_no_key_no_open_port_and_tokens_of_version_2() -> None:
    found = configuration()
    assert found["Imds"] == {"ImdsSupport": "v2.0"}
    assert found["HeadNode"]["Imds"] == {"Secured": True}
    assert "Ssh" not in found["HeadNode"]
    assert found["HeadNode"]["Networking"]["SecurityGroups"] == [f"sg-{1:017x}", f"sg-{2:017x}"]
    for nodes in (found["HeadNode"], *found["Scheduling"]["SlurmQueues"], *found["LoginNodes"]["Pools"]):
        # Groups of our own: those that ParallelCluster makes open port 22 to everybody.
        assert nodes["Networking"]["SecurityGroups"]
        assert "AdditionalSecurityGroups" not in nodes["Networking"]


def test_a_key_pair_and_addresses_are_for_head_and_login_nodes() -> None:
    found = configuration(
        {"parallelcluster.ssh": {"key_name": "mine", "allowed_addresses": ["192.0.2.0/24"]}}
    )
    assert found["HeadNode"]["Ssh"] == {"KeyName": "mine"}
    group = f"sg-{2:017x}"
    assert group in found["HeadNode"]["Networking"]["SecurityGroups"]
    assert group in found["LoginNodes"]["Pools"][0]["Networking"]["SecurityGroups"]
    assert group not in found["Scheduling"]["SlurmQueues"][0]["Networking"]["SecurityGroups"]


def test_each_kind_of_node_is_in_its_zone() -> None:
    found = configuration(
        {
            "pools.gpu.availability_zone": "us-west-2b",
            "parallelcluster.login": {"people": {"nodes": 2, "availability_zone": "us-west-2b"}},
        }
    )
    first, second = (f"subnet-{number:017x}" for number in (1, 2))
    assert found["HeadNode"]["Networking"]["SubnetId"] == first
    assert found["Scheduling"]["SlurmQueues"][0]["Networking"]["SubnetIds"] == [second]
    [login] = found["LoginNodes"]["Pools"]
    assert (login["Name"], login["Count"], login["Networking"]["SubnetIds"]) == ("people", 2, [second])


def test_without_login_pools_and_storage_there_are_no_such_sections() -> None:
    found = configuration({"parallelcluster.login": {}, "storage.lustre": None, "storage.openzfs": None})
    assert "LoginNodes" not in found
    assert "SharedStorage" not in found


def test_homes_and_scratch_are_mounted_by_id() -> None:
    home, lustre = configuration({"storage.lustre.mount_path": "/data"})["SharedStorage"]
    assert (home["MountDir"], home["FsxOpenZfsSettings"]) == ("/home", {"VolumeId": f"fsvol-{1:017x}"})
    assert (lustre["MountDir"], lustre["FsxLustreSettings"]) == ("/data", {"FileSystemId": f"fs-{1:017x}"})


def test_roles_lie_in_the_clusters_own_path() -> None:
    assert configuration()["Iam"] == {"ResourcePrefix": "/parallelcluster/demo-slurm/"}


@pytest.mark.parametrize(("retention", "policy"), [("ephemeral", "Delete"), ("durable", "Retain")])
def test_logs_stay_where_data_stays(retention: str, policy: str) -> None:
    found = configuration({"retention": retention, "parallelcluster.monitoring": {"log_days": 30}})
    assert found["Monitoring"]["Logs"]["CloudWatch"] == {
        "Enabled": True,
        "RetentionInDays": 30,
        "DeletionPolicy": policy,
    }
    assert found["Monitoring"]["DetailedMonitoring"] is True


def test_slurm_settings_are_those_chosen() -> None:
    slurm = {
        "idle_minutes": 7,
        "update_strategy": "compute-fleet-stop",
        "settings": [{"TopologyParam": "SwitchAsNodeRank"}],
    }
    found = configuration({"parallelcluster.slurm": slurm})["Scheduling"]["SlurmSettings"]
    assert found == {
        "ScaledownIdletime": 7,
        "QueueUpdateStrategy": "COMPUTE_FLEET_STOP",
        "CustomSlurmSettings": [{"TopologyParam": "SwitchAsNodeRank"}],
    }


def test_an_isolated_network_does_without_route_53() -> None:
    found = configuration({"network.isolated": True})["Scheduling"]["SlurmSettings"]
    assert found["Dns"] == {"DisableManagedDns": True, "UseEc2Hostnames": True}
    assert "Dns" not in configuration()["Scheduling"]["SlurmSettings"]


def test_accounting_is_the_head_nodes_and_counts_gpus() -> None:
    existing = replace(ExistingResources.example(settings()), accounting=DATABASE)
    found = configuration(existing=existing)
    slurm = found["Scheduling"]["SlurmSettings"]
    assert slurm["Database"] == {
        "Uri": DATABASE.uri,
        "UserName": "slurm",
        "PasswordSecretArn": DATABASE.password_secret_arn,
    }
    assert slurm["CustomSlurmSettings"] == [{"AccountingStorageTRES": "gres/gpu"}]
    assert "sg-db" in found["HeadNode"]["Networking"]["SecurityGroups"]
    assert "sg-db" not in found["LoginNodes"]["Pools"][0]["Networking"]["SecurityGroups"]
    mine = {"parallelcluster.slurm": {"settings": [{"accountingStorageTRES": "gres/gpu,license/x"}]}}
    assert configuration(mine, existing)["Scheduling"]["SlurmSettings"]["CustomSlurmSettings"] == [
        {"accountingStorageTRES": "gres/gpu,license/x"}
    ]


def test_the_directory_is_every_nodes_and_its_certificate_is_demanded() -> None:
    found = configuration(existing=replace(ExistingResources.example(settings()), directory=DIRECTORY))
    assert found["DirectoryService"] == {
        "DomainName": "dc=demo,dc=internal",
        "DomainAddr": "ldaps://one,ldaps://two",
        "PasswordSecretArn": DIRECTORY.password_secret_arn,
        "DomainReadOnlyUser": "cn=reader,dc=demo,dc=internal",
        "LdapTlsReqCert": "hard",
        "GenerateSshKeysForUsers": True,
        "LdapTlsCaCert": CA_CERTIFICATE_PATH,
        "LdapAccessFilter": "(memberOf=x)",
        "AdditionalSssdConfigs": {"enumerate": "true"},
    }
    for nodes in (found["HeadNode"], *found["Scheduling"]["SlurmQueues"], *found["LoginNodes"]["Pools"]):
        assert nodes["Networking"]["SecurityGroups"].count("sg-ldap") == 1


def test_nodes_keep_their_own_groups_beside_those_of_the_directory_and_the_database() -> None:
    """EFA works among members of one group: a node that loses it for the directory's loses the fabric."""
    existing = replace(ExistingResources.example(settings()), directory=DIRECTORY, accounting=DATABASE)
    found = configuration(existing=existing)
    fabric, ssh = f"sg-{1:017x}", f"sg-{2:017x}"
    [queue] = found["Scheduling"]["SlurmQueues"]
    assert queue["Networking"]["SecurityGroups"] == [fabric, "sg-ldap"]
    assert found["HeadNode"]["Networking"]["SecurityGroups"] == [fabric, ssh, "sg-ldap", "sg-db"]
    assert found["LoginNodes"]["Pools"][0]["Networking"]["SecurityGroups"] == [fabric, ssh, "sg-ldap"]


def test_the_tags_of_the_deployment_reach_the_cluster() -> None:
    """CDK's tags stay on our stack. A node has a name by ParallelCluster already, and EC2 takes one of a key."""
    found = configuration({"tags": {"team": "ml", "Name": "mine"}})
    assert found["Tags"] == [
        {"Key": "trainforge:deployment", "Value": "demo"},
        {"Key": "team", "Value": "ml"},
    ]


def test_a_custom_image() -> None:
    assert configuration()["Image"] == {"Os": "ubuntu2204"}
    own = {"parallelcluster.image": {"os": "ubuntu2404", "ami_id": "ami-0123456789abcdef0"}}
    assert configuration(own)["Image"] == {"Os": "ubuntu2404", "CustomAmi": "ami-0123456789abcdef0"}
    built = replace(ExistingResources.example(settings()), custom_ami="ami-built")
    assert configuration(own, built)["Image"]["CustomAmi"] == "ami-built"


def test_compute_nodes_start_from_an_image_of_their_own_that_an_update_can_change() -> None:
    built = replace(ExistingResources.example(settings()), compute_ami="ami-built")
    found = configuration({"parallelcluster.image": {"os": "ubuntu2404"}}, built)
    assert found["Image"] == {"Os": "ubuntu2404"}
    assert [queue["Image"] for queue in found["Scheduling"]["SlurmQueues"]] == [{"CustomAmi": "ami-built"}]


def test_one_pool_with_combined_interfaces_sets_them_for_all() -> None:
    assert "DevSettings" not in configuration({"pools.gpu.interface_type": "efa-only"})
    one_of_two = {
        "pools.other": {"instance_type": "g5.8xlarge", "nodes": 2, "availability_zone": "us-west-2a"},
        "parallelcluster": {"pools": ["gpu", "other"]},
        "pools.gpu.interface_type": "efa",
    }
    for changes in ({"pools.gpu.interface_type": "efa"}, one_of_two):
        assert configuration(changes)["DevSettings"] == {"EfaInterfaceType": "efa"}


def test_a_change_of_a_script_updates_permanent_nodes_and_replaces_the_others() -> None:
    """OnNodeConfigured of head and login nodes may never change; OnNodeUpdated may, and runs then."""
    script = CustomAction("s3://b/set-up", ("configured",))
    actions = NodeActions(
        start=(CustomAction("s3://b/set-up", ("start",)),), configured=(script,), revision="r1"
    )
    found = configuration(existing=replace(ExistingResources.example(settings()), actions=actions))
    head = found["HeadNode"]["CustomActions"]
    assert head["OnNodeConfigured"] == {"Sequence": [{"Script": "s3://b/set-up", "Args": ["configured"]}]}
    assert head["OnNodeUpdated"] == {"Sequence": [{"Script": "s3://b/set-up", "Args": ["configured", "r1"]}]}
    assert found["LoginNodes"]["Pools"][0]["CustomActions"] == head
    compute = found["Scheduling"]["SlurmQueues"][0]["CustomActions"]
    assert compute["OnNodeConfigured"] == {
        "Sequence": [{"Script": "s3://b/set-up", "Args": ["configured", "r1"]}]
    }
    assert "OnNodeUpdated" not in compute


def test_what_the_program_on_the_nodes_reads() -> None:
    chosen = settings({"parallelcluster.node_setup": {"users": [{"name": "ana", "uid": 2001}]}})
    assert chosen.parallelcluster
    found = node_configuration(chosen, chosen.parallelcluster.node_setup)
    assert found["users"][0]["name"] == "ana"
    assert found["mounts"] == ["/fsx", "/home"]
    assert set(found["node_exporter"]) == {"version", "url", "sha256"}
    bare = node_configuration(chosen, None)
    assert (bare["users"], bare["containers"], "node_exporter" in bare) == ([], None, False)


@pytest.mark.parametrize(
    ("os", "user"), [("ubuntu2404", "ubuntu"), ("rocky9", "rocky"), ("alinux2023", "ec2-user")]
)
def test_the_account_of_an_image(os: str, user: str) -> None:
    assert login_user(os) == user
