"""Templates that AWS refuses, each with its reason, and templates that it takes, for the tests of refusals."""

from __future__ import annotations

import base64
from typing import Any

from tests.emulator.formation import att, ref

Entry = tuple[str, dict[str, Any]]

MISSING_ROLE = "arn:aws:iam::123456789012:role/missing"


def trust(*services: str, **principal: str) -> dict[str, Any]:
    named: dict[str, Any] = {"Service": list(services)} if services else dict(principal)
    statement = {"Effect": "Allow", "Principal": named, "Action": "sts:AssumeRole"}
    return {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [statement]}}


def role(service: str) -> Entry:
    return "AWS::IAM::Role", trust(f"{service}.amazonaws.com")


def policy(characters: int) -> dict[str, Any]:
    """Return a policy with about so many characters."""
    arns = [f"arn:aws:s3:::bucket-{index:05d}/*" for index in range(characters // 32)]
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": arns}],
    }


VPC: dict[str, Entry] = {
    "Vpc": ("AWS::EC2::VPC", {"CidrBlock": "10.0.0.0/16"}),
    "One": (
        "AWS::EC2::Subnet",
        {"VpcId": ref("Vpc"), "CidrBlock": "10.0.0.0/24", "AvailabilityZone": "us-west-2a"},
    ),
    "Two": (
        "AWS::EC2::Subnet",
        {"VpcId": ref("Vpc"), "CidrBlock": "10.0.1.0/24", "AvailabilityZone": "us-west-2b"},
    ),
    "Group": ("AWS::EC2::SecurityGroup", {"GroupDescription": "all", "VpcId": ref("Vpc")}),
}
OTHER_GROUP: dict[str, Entry] = {
    "Other": ("AWS::EC2::VPC", {"CidrBlock": "10.9.0.0/16"}),
    "Foreign": ("AWS::EC2::SecurityGroup", {"GroupDescription": "all", "VpcId": ref("Other")}),
}


def lustre(**changes: Any) -> dict[str, Entry]:
    configuration = {"DeploymentType": "PERSISTENT_2", "PerUnitStorageThroughput": 250}
    given = {"StorageCapacity": 1200, "SubnetIds": [ref("One")], **changes}
    given["LustreConfiguration"] = configuration | given.get("LustreConfiguration", {})
    return VPC | {"It": ("AWS::FSx::FileSystem", {"FileSystemType": "LUSTRE", **given})}


def openzfs(**changes: Any) -> dict[str, Entry]:
    configuration = {"DeploymentType": "SINGLE_AZ_HA_2", "ThroughputCapacity": 160}
    given = {"StorageCapacity": 64, "SubnetIds": [ref("One")], **changes}
    given["OpenZFSConfiguration"] = configuration | given.get("OpenZFSConfiguration", {})
    return VPC | {"It": ("AWS::FSx::FileSystem", {"FileSystemType": "OPENZFS", **given})}


def node_group(template: dict[str, Any] | None = None, **changes: Any) -> dict[str, Entry]:
    given: dict[str, Any] = {
        "ClusterName": ref("Cluster"),
        "NodeRole": att("NodeRole", "Arn"),
        "Subnets": [ref("One")],
        "ScalingConfig": {"MinSize": 0, "DesiredSize": 1, "MaxSize": 2},
        **changes,
    }
    found = eks_cluster() | {"NodeRole": role("ec2"), "It": ("AWS::EKS::Nodegroup", given)}
    if template is not None:
        found["Template"] = ("AWS::EC2::LaunchTemplate", {"LaunchTemplateData": template})
        given["LaunchTemplate"] = {"Id": ref("Template"), "Version": "1"}
    return found


def eks_cluster(**changes: Any) -> dict[str, Entry]:
    given = {
        "Name": "refusals",
        "RoleArn": att("ClusterRole", "Arn"),
        "ResourcesVpcConfig": {"SubnetIds": [ref("One"), ref("Two")]},
        **changes,
    }
    return VPC | {"ClusterRole": role("eks"), "Cluster": ("AWS::EKS::Cluster", given)}


def add_on(name: str) -> dict[str, Entry]:
    return eks_cluster() | {"It": ("AWS::EKS::Addon", {"ClusterName": ref("Cluster"), "AddonName": name})}


EFA_PORT = {"DeviceIndex": 0, "NetworkCardIndex": 0, "InterfaceType": "efa"}


def hyperpod(*, service: str = "sagemaker", **group: Any) -> dict[str, Entry]:
    given = {
        "InstanceGroupName": "gpu",
        "InstanceType": "ml.g5.8xlarge",
        "InstanceCount": 1,
        "ExecutionRole": att("Role", "Arn"),
        "LifeCycleConfig": {"SourceS3Uri": "s3://sagemaker-a/b", "OnCreate": "a.sh"},
        **group,
    }
    cluster = {
        "ClusterName": "refusals",
        "InstanceGroups": [given],
        "VpcConfig": {"Subnets": [ref("One")], "SecurityGroupIds": [att("Group", "GroupId")]},
    }
    return VPC | {"Role": role(service), "It": ("AWS::SageMaker::Cluster", cluster)}


def endpoint(service: str = "com.amazonaws.us-west-2.ssm", **changes: Any) -> dict[str, Entry]:
    given = {
        "VpcId": ref("Vpc"),
        "ServiceName": service,
        "VpcEndpointType": "Interface",
        "SubnetIds": [ref("One")],
        "SecurityGroupIds": [att("Group", "GroupId")],
        **changes,
    }
    return VPC | {"It": ("AWS::EC2::VPCEndpoint", given)}


def secondary(*blocks: str) -> dict[str, Entry]:
    made = {
        f"Range{index}": ("AWS::EC2::VPCCidrBlock", {"VpcId": ref("Vpc"), "CidrBlock": block})
        for index, block in enumerate(blocks)
    }
    return {"Vpc": VPC["Vpc"], **made}


def batch_hosts(user_data: str, **changes: Any) -> dict[str, Entry]:
    data = {"UserData": base64.b64encode(user_data.encode()).decode()}
    compute = {
        "Type": "EC2",
        "MinvCpus": 0,
        "MaxvCpus": 8,
        "InstanceTypes": ["c6i.4xlarge"],
        "Subnets": [ref("One")],
        "SecurityGroupIds": [att("Group", "GroupId")],
        "InstanceRole": att("Profile", "Arn"),
        "LaunchTemplate": {"LaunchTemplateId": ref("Template"), "Version": "1"},
        **changes,
    }
    return VPC | {
        "Host": role("ec2"),
        "Profile": ("AWS::IAM::InstanceProfile", {"Roles": [ref("Host")]}),
        "Template": ("AWS::EC2::LaunchTemplate", {"LaunchTemplateData": data}),
        "It": (
            "AWS::Batch::ComputeEnvironment",
            {"Type": "MANAGED", "ComputeResources": compute},
        ),
    }


def job(main: int) -> dict[str, Entry]:
    container = {"Image": "busybox", "Vcpus": 1, "Memory": 128}
    nodes = {
        "NumNodes": 2,
        "MainNode": main,
        "NodeRangeProperties": [{"TargetNodes": "0:", "Container": container}],
    }
    return {"It": ("AWS::Batch::JobDefinition", {"Type": "multinode", "NodeProperties": nodes})}


def without(name: str, template: dict[str, Entry]) -> dict[str, Entry]:
    """Return a template whose resource `It` lacks a property."""
    kind, properties = template["It"]
    return template | {"It": (kind, {key: value for key, value in properties.items() if key != name})}


def newest_template() -> dict[str, Entry]:
    found = node_group({"InstanceType": "m5.large"})
    found["It"][1]["LaunchTemplate"]["Version"] = "$Latest"
    return found


AWS_POLICIES = (
    *(
        "AmazonEC2ReadOnlyAccess",
        "AmazonS3ReadOnlyAccess",
        "AmazonVPCReadOnlyAccess",
        "AmazonFSxReadOnlyAccess",
    ),
    *(
        "AmazonRDSReadOnlyAccess",
        "AmazonSNSReadOnlyAccess",
        "AmazonSQSReadOnlyAccess",
        "AmazonSSMReadOnlyAccess",
    ),
    *("CloudWatchReadOnlyAccess", "IAMReadOnlyAccess"),
)


def parameter(length: int, tier: str) -> dict[str, Entry]:
    return {"It": ("AWS::SSM::Parameter", {"Type": "String", "Tier": tier, "Value": "x" * length})}


def key(*actions: str) -> dict[str, Entry]:
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
        "Action": list(actions),
        "Resource": "*",
    }
    return {"It": ("AWS::KMS::Key", {"KeyPolicy": {"Version": "2012-10-17", "Statement": [statement]}})}


def pattern(count: int) -> dict[str, Entry]:
    names = [f"a-name-of-some-length-{index:04d}" for index in range(count)]
    return {"It": ("AWS::Events::Rule", {"EventPattern": {"source": names}})}


def database(least: float, most: float) -> dict[str, Entry]:
    return {
        "It": (
            "AWS::RDS::DBCluster",
            {
                "Engine": "aurora-mysql",
                "MasterUsername": "admin",
                "MasterUserPassword": "a-long-password",
                "ServerlessV2ScalingConfiguration": {"MinCapacity": least, "MaxCapacity": most},
            },
        )
    }


REFUSED: dict[str, tuple[dict[str, Entry], str]] = {
    "lustre size": (lustre(StorageCapacity=1300), "StorageCapacity 1300"),
    "lustre throughput": (
        lustre(LustreConfiguration={"PerUnitStorageThroughput": 300}),
        "PerUnitStorageThroughput 300",
    ),
    "lustre in two subnets": (lustre(SubnetIds=[ref("One"), ref("Two")]), "exactly one subnet"),
    "lustre with a group of another VPC": (
        OTHER_GROUP | lustre(SecurityGroupIds=[att("Foreign", "GroupId")]),
        "does not belong to VPC",
    ),
    "openzfs throughput": (
        openzfs(OpenZFSConfiguration={"ThroughputCapacity": 161}),
        "ThroughputCapacity 161",
    ),
    "openzfs in two zones with one subnet": (
        openzfs(OpenZFSConfiguration={"DeploymentType": "MULTI_AZ_1", "PreferredSubnetId": ref("One")}),
        "MULTI_AZ_1 takes exactly 2",
    ),
    "openzfs without a preferred subnet": (
        openzfs(SubnetIds=[ref("One"), ref("Two")], OpenZFSConfiguration={"DeploymentType": "MULTI_AZ_1"}),
        "PreferredSubnetId",
    ),
    "EKS version": (eks_cluster(Version="1.10"), "unsupported Kubernetes version 1.10"),
    "EKS role": (
        eks_cluster() | {"ClusterRole": role("ec2")},
        "cannot be assumed by eks.amazonaws.com",
    ),
    "node role": (node_group() | {"NodeRole": role("eks")}, "cannot be assumed by ec2.amazonaws.com"),
    "add-on": (add_on("no-such-add-on"), "Addon no-such-add-on specified is not supported"),
    "node group of an unknown type": (
        node_group(InstanceTypes=["p99.48xlarge"]),
        "'p99.48xlarge' does not exist",
    ),
    "node group with min over max": (
        node_group(ScalingConfig={"MinSize": 3, "DesiredSize": 3, "MaxSize": 2}),
        "Minimum capacity 3",
    ),
    "EFA on a type without": (
        node_group({"InstanceType": "t3.micro", "NetworkInterfaces": [EFA_PORT]}),
        "takes 0",
    ),
    "type in template and group": (
        node_group({"InstanceType": "c6i.4xlarge"}, InstanceTypes=["c6i.4xlarge"]),
        "not in both",
    ),
    "capacity block without its market": (
        node_group({"InstanceType": "p5.48xlarge"}, CapacityType="CAPACITY_BLOCK"),
        "market type is capacity-block",
    ),
    "inline policy": (
        {
            "It": (
                "AWS::IAM::Role",
                trust("ec2.amazonaws.com")
                | {"Policies": [{"PolicyName": "a", "PolicyDocument": policy(11_000)}]},
            )
        },
        "Maximum policy size of 10240",
    ),
    "inline policies together": (
        {
            "Role": role("ec2"),
            "First": (
                "AWS::IAM::Policy",
                {"PolicyName": "a", "PolicyDocument": policy(6_000), "Roles": [ref("Role")]},
            ),
            "It": (
                "AWS::IAM::Policy",
                {"PolicyName": "b", "PolicyDocument": policy(6_000), "Roles": [ref("Role")]},
            ),
        },
        "Maximum policy size of 10240",
    ),
    "managed policy": (
        {"It": ("AWS::IAM::ManagedPolicy", {"PolicyDocument": policy(7_000)})},
        "PolicySize: 6144",
    ),
    "attached policies": (
        {
            "It": (
                "AWS::IAM::Role",
                trust("ec2.amazonaws.com")
                | {"ManagedPolicyArns": [f"arn:aws:iam::aws:policy/A{index}" for index in range(21)]},
            )
        },
        "PoliciesPerRole",
    ),
    "principal that does not exist": (
        {"It": ("AWS::IAM::Role", trust(AWS=MISSING_ROLE))},
        "Invalid principal in policy",
    ),
    "flow log's role": (
        VPC
        | {
            "Logs": ("AWS::Logs::LogGroup", {}),
            "Role": role("ec2"),
            "It": (
                "AWS::EC2::FlowLog",
                {
                    "ResourceId": ref("Vpc"),
                    "ResourceType": "VPC",
                    "TrafficType": "ALL",
                    "LogGroupName": ref("Logs"),
                    "DeliverLogsPermissionArn": att("Role", "Arn"),
                },
            ),
        },
        "cannot be assumed by vpc-flow-logs.amazonaws.com",
    ),
    "standard parameter": (parameter(5_000, "Standard"), "5000 bytes exceeds the maximum of 4096"),
    "tiered parameter": (parameter(9_000, "Intelligent-Tiering"), "9000 bytes exceeds the maximum of 8192"),
    "small subnet": (
        {
            "Vpc": VPC["Vpc"],
            "It": (
                "AWS::EC2::Subnet",
                {"VpcId": ref("Vpc"), "CidrBlock": "10.0.0.0/29", "AvailabilityZone": "us-west-2a"},
            ),
        },
        "must be a /16 to a /28",
    ),
    "overlapping range": (secondary("10.0.0.0/17"), "conflicts with"),
    "range of another family": (secondary("192.168.0.0/16"), "is restricted"),
    "groups of an endpoint": (
        endpoint(SecurityGroupIds=[f"sg-{index:017d}" for index in range(17)]),
        "takes at most 16",
    ),
    "endpoint with a group of another VPC": (
        OTHER_GROUP | endpoint(SecurityGroupIds=[att("Foreign", "GroupId")]),
        "does not belong to VPC",
    ),
    "unknown endpoint service": (endpoint("com.amazonaws.us-west-2.nothing"), "does not exist"),
    "NAT without a gateway": (
        VPC
        | {
            "Address": ("AWS::EC2::EIP", {}),
            "It": (
                "AWS::EC2::NatGateway",
                {"SubnetId": ref("One"), "AllocationId": att("Address", "AllocationId")},
            ),
        },
        "has no Internet gateway attached",
    ),
    "HyperPod type": (hyperpod(InstanceType="ml.q9.large"), "is not an instance type of HyperPod"),
    "HyperPod plan": (
        hyperpod(TrainingPlanArn="arn:aws:sagemaker:us-east-1:123456789012:training-plan/a"),
        "is of another region",
    ),
    "HyperPod role": (hyperpod(service="ec2"), "cannot be assumed by sagemaker.amazonaws.com"),
    "subnet group in one zone": (
        VPC
        | {
            "It": (
                "AWS::RDS::DBSubnetGroup",
                {"DBSubnetGroupDescription": "a", "SubnetIds": [ref("One")]},
            )
        },
        "Add subnets to cover at least 2 AZs",
    ),
    "database with a group of another VPC": (
        OTHER_GROUP
        | VPC
        | {
            "Subnets": (
                "AWS::RDS::DBSubnetGroup",
                {"DBSubnetGroupDescription": "a", "SubnetIds": [ref("One"), ref("Two")]},
            ),
            "It": (
                "AWS::RDS::DBCluster",
                {
                    **database(1, 2)["It"][1],
                    "DBSubnetGroupName": ref("Subnets"),
                    "VpcSecurityGroupIds": [att("Foreign", "GroupId")],
                },
            ),
        },
        "does not belong to VPC",
    ),
    "serverless capacity": (database(4, 2), "MinCapacity 4"),
    "event pattern": (pattern(100), "exceeds the maximum of 2048"),
    "key that nobody can change": (key("kms:Decrypt"), "will not allow you to update the key policy"),
    "Auto Scaling sizes": (
        VPC
        | {
            "Template": ("AWS::EC2::LaunchTemplate", {"LaunchTemplateData": {"InstanceType": "t3.micro"}}),
            "It": (
                "AWS::AutoScaling::AutoScalingGroup",
                {
                    "MinSize": "2",
                    "MaxSize": "1",
                    "VPCZoneIdentifier": [ref("One")],
                    "LaunchTemplate": {"LaunchTemplateId": ref("Template"), "Version": "1"},
                },
            ),
        },
        "must be greater than or equal to min bound",
    ),
    "Batch user data": (batch_hosts("#!/bin/bash"), "MIME multi-part"),
    "Batch bounds": (
        batch_hosts("MIME-Version: 1.0\n", MinvCpus=16),
        "maxVCpus must be greater than minvCpus",
    ),
    "main node": (job(main=2), "mainNode 2 must be smaller"),
    "name that a pattern refuses": (hyperpod(InstanceGroupName="gpu_1"), "'gpu_1' does not match"),
}

ONE_STATEMENT = {
    "Effect": "Allow",
    "Principal": {"Service": "sagemaker.amazonaws.com"},
    "Action": "sts:AssumeRole",
}

TAKEN: dict[str, dict[str, Entry]] = {
    "lustre": lustre(),
    "lustre of intelligent tiering": VPC
    | {
        "It": (
            "AWS::FSx::FileSystem",
            {
                "FileSystemType": "LUSTRE",
                "StorageType": "INTELLIGENT_TIERING",
                "SubnetIds": [ref("One")],
                "LustreConfiguration": {"DeploymentType": "PERSISTENT_2", "ThroughputCapacity": 4000},
            },
        )
    },
    "lustre of hard disks": lustre(
        StorageType="HDD",
        StorageCapacity=6000,
        LustreConfiguration={"DeploymentType": "PERSISTENT_1", "PerUnitStorageThroughput": 12},
    ),
    "scratch lustre": VPC
    | {
        "It": (
            "AWS::FSx::FileSystem",
            {
                "FileSystemType": "LUSTRE",
                "StorageCapacity": 3600,
                "SubnetIds": [ref("One")],
                "LustreConfiguration": {"DeploymentType": "SCRATCH_1"},
            },
        )
    },
    "lustre of 4,800 GiB": lustre(StorageCapacity=4800),
    "openzfs": openzfs(),
    "openzfs in two zones": openzfs(
        SubnetIds=[ref("One"), ref("Two")],
        OpenZFSConfiguration={"DeploymentType": "MULTI_AZ_1", "PreferredSubnetId": ref("One")},
    ),
    "EFA": node_group({"InstanceType": "p5.48xlarge", "NetworkInterfaces": [EFA_PORT]}),
    "newest launch template": newest_template(),
    "node group without sizes": without("ScalingConfig", node_group(InstanceTypes=["m5.large"])),
    "add-on": add_on("kube-proxy"),
    "policies": {
        "It": (
            "AWS::IAM::Role",
            trust("ec2.amazonaws.com") | {"Policies": [{"PolicyName": "a", "PolicyDocument": policy(9_000)}]},
        )
    },
    "parameter": parameter(4_096, "Standard"),
    "tiered parameter": parameter(8_192, "Intelligent-Tiering"),
    "range with bits behind its prefix": secondary("10.1.2.0/16"),
    "role of one statement": hyperpod()
    | {
        "Role": (
            "AWS::IAM::Role",
            {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": ONE_STATEMENT}},
        )
    },
    "role with a path": hyperpod()
    | {"Role": ("AWS::IAM::Role", trust("sagemaker.amazonaws.com") | {"Path": "/parallelcluster/"})},
    "ten attached policies": {
        "It": (
            "AWS::IAM::Role",
            trust("ec2.amazonaws.com")
            | {"ManagedPolicyArns": [f"arn:aws:iam::aws:policy/{name}" for name in AWS_POLICIES]},
        )
    },
    "key of one statement": {
        "It": (
            "AWS::KMS::Key",
            {
                "KeyPolicy": {
                    "Version": "2012-10-17",
                    "Statement": {
                        "Effect": "Allow",
                        "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
                        "Action": "kms:*",
                        "Resource": "*",
                    },
                }
            },
        )
    },
    "ranges": secondary("10.1.0.0/16", "100.64.0.0/16"),
    "endpoint": endpoint(),
    "HyperPod": hyperpod(),
    "event pattern": pattern(10),
    "key": key("kms:*"),
    "Batch": batch_hosts("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b--\n"),
    "main node": job(main=1),
}
