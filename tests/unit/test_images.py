"""The image stack: pipelines, the rights of builds, what clusters take, and the documents that run on the machine."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable
from ipaddress import IPv4Network
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

from catalog.eks import service_range
from catalog.image_builder import (
    KEEP_TAG,
    MAX_CHECK_HOURS,
    MAX_COMPONENT,
    MAX_NODE,
    MAX_PLAYBOOK_HOURS,
    builds_per_month,
    content_version,
    image_parameter,
)
from catalog.instances import instance
from catalog.machine_images import MACHINE_IMAGES, MachineImage
from emulator.resources.image_builder import document_mistakes
from machine_images.archive import archive_members, packed
from settings.sections.images import MachineImageSettings
from tests.programs import ROOT
from tests.synthesis import Synthesis
from trainforge.eks.user_data import Membership, node_config
from trainforge.images.documents import build_document
from trainforge.images.documents import test_document as check_document
from trainforge.images.pipeline import parent_reference

STACK = "ImageStack"
PARAMETER = image_parameter("baked", "slurm-gpu")
Synthesized = Callable[[str], Synthesis]

ONE_POOL = """
name: test
region: us-west-2
availability_zones: [us-west-2a]
pools:
  gpu: {instance_type: g5.12xlarge, nodes: 1}
storage: {lustre: {capacity_gib: 1200}}
"""
CLUSTERS = f"""{ONE_POOL}
images:
  nodes: {{playbook: hyperpod, parent: ami-0123456789abcdef0, schedule: null, scan: false}}
  hosts: {{playbook: batch-gpu, system: amazon-linux, instance_type: c6i.8xlarge}}
hyperpod: {{pools: [gpu], image: {{from: nodes}}}}
batch: {{pools: [gpu], image: {{from: hosts, version: 4}}}}
"""


@pytest.fixture
def images(synthesis: Callable[[str], Synthesis]) -> Synthesis:
    return synthesis("config/images.yaml")


@pytest.fixture
def others(synthesized: Synthesized) -> Synthesis:
    return synthesized(CLUSTERS)


def of(synthesis: Synthesis, kind: str, name: str) -> dict[str, Any]:
    """Return the properties of the resource of Image Builder with a name."""
    found = [one["Properties"] for one in synthesis.resources(STACK, f"AWS::ImageBuilder::{kind}")]
    [properties] = [one for one in found if one["Name"] == name]
    return dict(properties)


@pytest.mark.parametrize("image", MACHINE_IMAGES, ids=lambda image: image.name)
def test_documents_have_the_form_that_the_component_framework_runs(image: MachineImage) -> None:
    for document in (build_document(image, archive="s3://b/k"), check_document(image, archive="s3://b/k")):
        text = json.dumps(document)
        assert document_mistakes(text) == []
        # Two braces would be a reference of the framework's own.
        assert "{{" not in text
        assert len(text) < MAX_COMPONENT - 500, "tokens of the bucket's name come to it"


def test_an_image_that_updates_packages_restarts_before_its_playbook() -> None:
    [ec2] = [image for image in MACHINE_IMAGES if image.updates]
    actions = [step["action"] for step in build_document(ec2, archive="s3://b/k")["phases"][0]["steps"]]
    assert actions[:2] == ["UpdateOS", "Reboot"]
    assert actions.index("Reboot") < actions.index("S3Download")


def test_the_test_of_an_image_fails_on_versions_that_its_playbook_installed_and_on_no_others() -> None:
    for image in MACHINE_IMAGES:
        [phase] = check_document(image, archive="s3://b/k")["phases"]
        assert phase["name"] == "test"
        text = json.dumps(phase)
        assert ("check.sh locked" in text) is bool(image.installs)
        assert ("check.sh parent" in text) is not image.installs
        assert all(part in text for part in image.installs)


def test_the_archive_has_what_the_playbooks_and_the_check_name() -> None:
    members = archive_members()
    with tarfile.open(fileobj=io.BytesIO(packed(members))) as tar:
        names = set(tar.getnames())
        assert tar.getmember("image_builder/build.sh").mode == 0o755
    assert names == set(members)
    assert {
        "machine_images/eks-gpu.yml",
        "machine_images/ansible.cfg",
        "machine_images/requirements.lock",
        "machine_images/group_vars/all/lock.yml",
        "build/machine-images/trainforge.tar.gz",
        "software/lock.json",
    } <= names
    for image in MACHINE_IMAGES:
        assert f"machine_images/{image.name}.yml" in names
    # The version of a component follows from its digest, and the time would be in gzip's header.
    assert packed(members)[4:8] == bytes(4)
    assert packed(members) == packed(archive_members())


LOCKED = [
    (Requirement(entry.partition(" \\\n")[0]), entry)
    for entry in re.split(r"\n(?=[a-z])", (ROOT / "machine_images" / "requirements.lock").read_text("utf-8"))[
        1:
    ]
]


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_each_python_of_a_machine_has_one_ansible_in_the_lock_and_all_that_it_needs(python: str) -> None:
    """Of Ubuntu 22.04 and 24.04, Debian 13 and what Amazon Linux offers."""
    environment = {**default_environment(), "python_version": python, "python_full_version": f"{python}.1"}
    holds = [found for found, _ in LOCKED if found.marker is None or found.marker.evaluate(environment)]
    names = [found.name for found in holds]
    assert len(names) == len(set(names)), names
    assert {"ansible-core", "cryptography", "jinja2", "packaging", "pyyaml", "resolvelib"} <= set(names)
    lines = (ROOT / "requirements-ansible.txt").read_text("utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line.startswith("ansible-core==")]
    [asked] = [pin for pin in pins if pin.marker is None or pin.marker.evaluate(environment)]
    assert {str(found.specifier) for found in holds if found.name == asked.name} == {str(asked.specifier)}, (
        "'make lock' writes it"
    )


def test_everything_that_runs_on_a_machine_has_a_hash() -> None:
    for found, entry in LOCKED:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), found


def test_a_version_changes_with_the_content_and_is_one_that_the_service_takes() -> None:
    versions = {content_version(text) for text in ("a", "b", "a")}
    assert len(versions) == 2
    assert all(int(version.removeprefix("1.0.")) <= MAX_NODE for version in versions)


def test_a_pipeline_writes_the_parameter_that_clusters_read(images: Synthesis) -> None:
    distribution = of(images, "DistributionConfiguration", "trainforge-baked-slurm-gpu")
    [one] = distribution["Distributions"]
    assert one["SsmParameterConfigurations"] == [{"ParameterName": PARAMETER, "DataType": "aws:ec2:image"}]
    assert PARAMETER.startswith("/imagebuilder/"), "the service-linked role writes no other"
    configuration = json.dumps(images.templates["ParallelClusterStack"])
    assert f"{{{{resolve:ssm:{PARAMETER}:2}}}}" in configuration


def test_components_of_a_recipe_build_and_test(images: Synthesis) -> None:
    template = images.templates[STACK]["Resources"]
    recipe = of(images, "ImageRecipe", "trainforge-baked-eks-gpu")
    names = [
        template[one["ComponentArn"]["Fn::GetAtt"][0]]["Properties"]["Name"] for one in recipe["Components"]
    ]
    assert names == ["trainforge-baked-eks-gpu-build", "trainforge-baked-eks-gpu-test"]
    assert recipe["ParentImage"].startswith("ssm:/aws/service/eks/")
    assert of(images, "ImageRecipe", "trainforge-baked-slurm-gpu")["ParentImage"] == "ami-0123456789abcdef0"
    pipeline = of(images, "ImagePipeline", "trainforge-baked-eks-gpu")
    assert pipeline["ImageTestsConfiguration"] == {"ImageTestsEnabled": True}
    assert pipeline["ImageScanningConfiguration"] == {"ImageScanningEnabled": True}
    assert pipeline["Schedule"]["PipelineExecutionStartCondition"] == "EXPRESSION_MATCH_ONLY"


def test_builds_have_no_ingress_and_read_their_own_components_alone(images: Synthesis) -> None:
    group = images.only(STACK, "AWS::EC2::SecurityGroup")
    assert "SecurityGroupIngress" not in group
    assert {rule["FromPort"] for rule in group["SecurityGroupEgress"]} == {80, 443}
    infrastructure = of(images, "InfrastructureConfiguration", "trainforge-baked-eks-gpu")
    assert infrastructure["InstanceMetadataOptions"]["HttpTokens"] == "required"
    assert "KeyPair" not in infrastructure
    statements = [
        statement
        for policy in images.resources(STACK, "AWS::IAM::Policy")
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]
    [components] = [one for one in statements if one["Action"] == "imagebuilder:GetComponent"]
    assert ":component/trainforge-baked-*" in json.dumps(components["Resource"])
    groups = {
        one["Properties"]["LogGroupName"]
        for one in images.resources(STACK, "AWS::Logs::LogGroup")
        if "LogGroupName" in one["Properties"]
    }
    assert "/aws/imagebuilder/trainforge-baked-eks-gpu" in groups
    [writing] = [
        one
        for one in statements
        if "logs:PutLogEvents" in one["Action"] and "imagebuilder" in json.dumps(one["Resource"])
    ]
    allowed = json.dumps(writing["Resource"]).partition(":log-group:")[2].partition("*")[0]
    assert all(group.startswith(allowed) for group in groups if "imagebuilder" in group)
    for action in ("ec2:DeregisterImage", "ec2:DeleteSnapshot"):
        [deleting] = [one for one in statements if action in one["Action"]]
        assert deleting["Condition"] == {"StringEquals": {"aws:ResourceTag/CreatedBy": "EC2 Image Builder"}}


def test_old_images_go_and_those_that_nodes_were_started_from_stay(images: Synthesis) -> None:
    [detail] = of(images, "LifecyclePolicy", "trainforge-baked-eks-gpu")["PolicyDetails"]
    assert detail["Filter"] == {"Type": "COUNT", "Value": 5}
    assert detail["Action"]["IncludeResources"] == {"Amis": True, "Snapshots": True}
    # A cluster that starts no node for months has its image by the tag alone.
    assert detail["ExclusionRules"]["Amis"] == {
        "LastLaunched": {"Value": 90, "Unit": "DAYS"},
        "TagMap": {"trainforge:keep": "true"},
    }
    page = (ROOT / "docs" / "machine-images.md").read_text(encoding="utf-8")
    assert "--tags Key={},Value={}".format(*KEEP_TAG) in page


def test_people_hear_of_failures_vulnerabilities_and_disabled_pipelines(images: Synthesis) -> None:
    patterns = [one["Properties"]["EventPattern"] for one in images.resources(STACK, "AWS::Events::Rule")]
    details = [pattern.get("detail", {}) for pattern in patterns]
    assert {"state": {"status": ["FAILED"]}} in details
    assert ["EC2 Image Builder CVE Detected"] in [pattern["detail-type"] for pattern in patterns]
    assert ["EC2 Image Builder Image Pipeline Automatically Disabled"] in [
        pattern["detail-type"] for pattern in patterns
    ]
    assert all(pattern["resources"] for pattern in patterns), (
        "other pipelines of the account are others' business"
    )


@pytest.mark.parametrize(
    ("schedule", "builds"),
    [
        (None, 0),
        ("cron(0 4 1 * ? *)", 1),
        ("cron(0 4 ? * MON *)", 4.35),
        ("cron(0 4 ? * MON-FRI *)", 21.7),
        ("cron(0 0/6 * * ? *)", 122),
        ("cron(0 4 1,15 * ? *)", 2),
        ("cron(0 4 L * ? *)", 1),
        ("cron(0 4 ? * 2#1 *)", 4.35),
        ("cron(30 4 1 JAN/3 ? *)", 0.333),
        ("cron(0 4 1 1-6 ?)", 0.5),
        ("cron(x/0 5-1 1/y ? ? *)", 31),
        ("rate(7 days)", 4.35),
        ("rate(1 hour)", 730),
    ],
)
def test_builds_of_a_month_are_counted(schedule: str | None, builds: float) -> None:
    assert float(f"{builds_per_month(schedule):.3g}") == builds


def test_the_use_of_a_month_is_stated(images: Synthesis, others: Synthesis) -> None:
    said = [
        {name: output["Value"] for name, output in one.templates[STACK]["Outputs"].items()}
        for one in (images, others)
    ]
    assert said[0]["SlurmGpuMonthlyUse"] == (
        "1 build, each up to 6 hours of c6i.4xlarge with a volume of 100 GiB; up to 3 x 100 GiB of snapshots; "
        "1 scan by Inspector; downloads through the NAT gateway"
    )
    assert said[1]["NodesMonthlyUse"].startswith("builds that you start, each up to 6 hours of c6i.4xlarge")
    assert "Inspector" not in said[1]["NodesMonthlyUse"]


def test_the_page_has_the_use_of_each_playbook() -> None:
    page = (ROOT / "docs" / "machine-images.md").read_text("utf-8")
    hours = MAX_PLAYBOOK_HOURS + 2 * MAX_CHECK_HOURS
    keep = MachineImageSettings.model_fields["keep"].default
    for image in MACHINE_IMAGES:
        [row] = [
            line
            for line in page.splitlines()
            if f"`{image.name}`" in line and f"| {hours} h | {keep} |" in line
        ]
        assert row.endswith(f"| {image.instance_type} | {hours} h | {keep} | {keep * image.volume_gib} GiB |")


def test_parallelcluster_can_build_the_image_itself_from_the_same_component(images: Synthesis) -> None:
    [parameter] = images.resources(STACK, "AWS::SSM::Parameter")
    value = parameter["Properties"]["Value"]["Fn::Join"][1]
    configuration = json.loads("".join(part if isinstance(part, str) else "x" for part in value))
    assert configuration["Build"]["ParentImage"] == "ami-0123456789abcdef0"
    assert configuration["Build"]["Components"] == [{"Type": "arn", "Value": "x"}]
    assert configuration["Image"]["RootVolume"] == {"Size": 100, "Encrypted": True}


def test_eks_nodes_on_an_own_image_are_told_what_eks_would_tell_them(images: Synthesis) -> None:
    groups = {
        one["Properties"]["Tags"]["trainforge:pool"]: one["Properties"]
        for one in images.resources("EksStack", "AWS::EKS::Nodegroup")
    }
    # EKS refuses both beside an image in the launch template.
    assert not {"AmiType", "Version"} & set(groups["small"])
    assert {"AmiType", "Version"} <= set(groups["system"])
    [template] = [
        one["Properties"]["LaunchTemplateData"]
        for one in images.resources("EksStack", "AWS::EC2::LaunchTemplate")
        if "ImageId" in one["Properties"]["LaunchTemplateData"]
    ]
    assert template["ImageId"] == f"{{{{resolve:ssm:{image_parameter('baked', 'eks-gpu')}:1}}}}"
    told = json.dumps(template["UserData"])
    assert "172.20.0.0/16" in told
    assert "--register-with-taints=nvidia.com/gpu=true:NoSchedule" in told


def test_nodes_join_by_the_endpoint_the_certificate_and_the_range_of_services() -> None:
    membership = Membership("c", "https://e", "cert", "10.100.0.0/16", {"a": "b"})
    config = node_config(instance("c6i.4xlarge"), membership)
    assert config is not None
    assert config["spec"] == {
        "cluster": {
            "name": "c",
            "apiServerEndpoint": "https://e",
            "certificateAuthority": "cert",
            "cidr": "10.100.0.0/16",
        },
        "kubelet": {"flags": ["--node-labels=a=b"]},
    }


@pytest.mark.parametrize(
    ("networks", "services"),
    [
        (["10.0.0.0/16"], "172.20.0.0/16"),
        (["192.168.0.0/16", "10.1.0.0/16"], "172.20.0.0/16"),
        (["172.16.0.0/16"], "10.100.0.0/16"),
    ],
)
def test_services_get_a_range_that_the_network_does_not_have(networks: list[str], services: str) -> None:
    assert service_range([IPv4Network(network) for network in networks]) == services


def test_hyperpod_takes_an_unencrypted_image_in_every_group(others: Synthesis) -> None:
    groups = others.only("HyperPodStack", "AWS::SageMaker::Cluster")["InstanceGroups"]
    assert [group["ImageId"] for group in groups] == [{"Ref": "NodeImage"}] * 3
    parameter = others.templates["HyperPodStack"]["Parameters"]["NodeImage"]
    assert parameter["Default"] == image_parameter("test", "nodes")
    [device] = of(others, "ImageRecipe", "trainforge-test-nodes")["BlockDeviceMappings"]
    assert device["Ebs"]["Encrypted"] is False
    assert "Schedule" not in of(others, "ImagePipeline", "trainforge-test-nodes")


def test_hyperpod_takes_an_image_by_its_id_in_every_group(synthesized: Synthesized) -> None:
    image = "ami-0123456789abcdef0"
    made = synthesized(f"{ONE_POOL}hyperpod: {{pools: [gpu], image: {{ami_id: {image}}}}}\n")
    groups = made.only("HyperPodStack", "AWS::SageMaker::Cluster")["InstanceGroups"]
    assert [group["ImageId"] for group in groups] == [image] * 3
    assert STACK not in made.templates


def test_batch_starts_hosts_from_the_version_that_is_named(others: Synthesis) -> None:
    environment = others.only("BatchStack", "AWS::Batch::ComputeEnvironment")["ComputeResources"]
    reference = f"{{{{resolve:ssm:{image_parameter('test', 'hosts')}:4}}}}"
    assert environment["Ec2Configuration"] == [
        {"ImageType": "ECS_AL2023_NVIDIA", "ImageIdOverride": reference}
    ]
    assert of(others, "InfrastructureConfiguration", "trainforge-test-hosts")["InstanceTypes"] == [
        "c6i.8xlarge"
    ]


def test_a_parent_without_a_parameter_must_be_given() -> None:
    parents = {image.name: image.parents for image in MACHINE_IMAGES}
    assert parent_reference(parents["ec2"]["ubuntu"], None).startswith("ssm:/aws/service/canonical/")
    with pytest.raises(LookupError):
        parent_reference(parents["parallelcluster-gpu"]["ubuntu"], None)
