"""Batch in the emulator: what it holds, changes and refuses."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.emulator.formation import Formation

STACK: dict[str, Any] = {
    "Resources": {
        "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}},
        "Subnet": {
            "Type": "AWS::EC2::Subnet",
            "Properties": {"VpcId": {"Ref": "Vpc"}, "CidrBlock": "10.0.0.0/24"},
        },
        "Group": {
            "Type": "AWS::EC2::SecurityGroup",
            "Properties": {"VpcId": {"Ref": "Vpc"}, "GroupDescription": "hosts"},
        },
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": []}},
        },
        "Profile": {"Type": "AWS::IAM::InstanceProfile", "Properties": {"Roles": [{"Ref": "Role"}]}},
        "Policy": {
            "Type": "AWS::Batch::SchedulingPolicy",
            "Properties": {
                "FairsharePolicy": {"ShareDistribution": [{"ShareIdentifier": "a", "WeightFactor": 1}]}
            },
        },
        "Environment": {
            "Type": "AWS::Batch::ComputeEnvironment",
            "Properties": {
                "Type": "MANAGED",
                "ReplaceComputeEnvironment": True,
                "ComputeResources": {
                    "Type": "EC2",
                    "MinvCpus": 0,
                    "MaxvCpus": 64,
                    "InstanceTypes": ["c6i.4xlarge"],
                    "Subnets": [{"Ref": "Subnet"}],
                    "SecurityGroupIds": [{"Fn::GetAtt": ["Group", "GroupId"]}],
                    "InstanceRole": {"Fn::GetAtt": ["Profile", "Arn"]},
                },
            },
        },
        "Queue": {
            "Type": "AWS::Batch::JobQueue",
            "Properties": {
                "Priority": 1,
                "ComputeEnvironmentOrder": [{"Order": 1, "ComputeEnvironment": {"Ref": "Environment"}}],
                "SchedulingPolicyArn": {"Fn::GetAtt": ["Policy", "Arn"]},
            },
        },
    }
}


DEFINITION: dict[str, Any] = {
    "Resources": {
        "D0": {
            "Type": "AWS::Batch::JobDefinition",
            "Properties": {
                "JobDefinitionName": "d0",
                "Type": "multinode",
                "NodeProperties": {
                    "NumNodes": 2,
                    "MainNode": 0,
                    "NodeRangeProperties": [
                        {
                            "TargetNodes": "0:",
                            "Container": {"Image": "busybox", "Vcpus": 1, "Memory": 128},
                        }
                    ],
                },
            },
        }
    }
}


def changed(path: str, value: Any) -> dict[str, Any]:
    template = copy.deepcopy(STACK)
    *above, last = path.split(".")
    place = template["Resources"]
    for key in above:
        place = place[key]
    place[last] = value
    return template


@pytest.fixture
def stack(formation: Formation) -> str:
    return formation.created(STACK)


def test_another_text_is_another_revision_and_the_old_one_goes(formation: Formation) -> None:
    template = copy.deepcopy(DEFINITION)
    name = formation.created(template)
    client = formation.emulator.client("batch")
    [first] = client.describe_job_definitions(jobDefinitionName="d0", status="ACTIVE")["jobDefinitions"]
    template["Resources"]["D0"]["Properties"]["Timeout"] = {"AttemptDurationSeconds": 60}
    assert formation.update(name, template) == "UPDATE_COMPLETE"
    [found] = client.describe_job_definitions(jobDefinitionName="d0", status="ACTIVE")["jobDefinitions"]
    assert found["revision"] == first["revision"] + 1
    assert found["timeout"] == {"attemptDurationSeconds": 60}


def test_a_bound_changes_in_place_and_a_type_makes_another(formation: Formation, stack: str) -> None:
    before = formation.physical_id(stack, "Environment")
    bounds = changed("Environment.Properties.ComputeResources.MaxvCpus", 128)
    assert formation.update(stack, bounds) == "UPDATE_COMPLETE"
    assert formation.physical_id(stack, "Environment") == before
    typed = copy.deepcopy(bounds)
    typed["Resources"]["Environment"]["Properties"]["ComputeResources"]["InstanceTypes"] = ["c6i.8xlarge"]
    assert formation.update(stack, typed) == "UPDATE_COMPLETE"
    after = formation.physical_id(stack, "Environment")
    assert after != before
    environments = formation.emulator.client("batch").describe_compute_environments()["computeEnvironments"]
    assert before not in {item["computeEnvironmentArn"] for item in environments}
    [found] = [item for item in environments if item["computeEnvironmentArn"] == after]
    assert found["computeResources"]["maxvCpus"] == 128


def test_without_replacement_all_changes_in_place(formation: Formation, stack: str) -> None:
    before = formation.physical_id(stack, "Environment")
    template = changed("Environment.Properties.ComputeResources.InstanceTypes", ["c6i.8xlarge"])
    template["Resources"]["Environment"]["Properties"]["ReplaceComputeEnvironment"] = False
    assert formation.update(stack, template) == "UPDATE_COMPLETE"
    assert formation.physical_id(stack, "Environment") == before


def test_bounds_that_cross_are_refused_and_rolled_back(formation: Formation, stack: str) -> None:
    assert formation.update(stack, changed("Environment.Properties.ComputeResources.MinvCpus", 65)) == (
        "UPDATE_ROLLBACK_COMPLETE"
    )
    assert "maxVCpus must be greater than minvCpus" in formation.reasons(stack)


def test_groups_beside_interfaces_in_the_launch_template_are_refused(formation: Formation) -> None:
    template = copy.deepcopy(STACK)
    interface = {"DeviceIndex": 0, "Groups": [{"Fn::GetAtt": ["Group", "GroupId"]}]}
    template["Resources"]["Hosts"] = {
        "Type": "AWS::EC2::LaunchTemplate",
        "Properties": {"LaunchTemplateData": {"NetworkInterfaces": [interface]}},
    }
    resources = template["Resources"]["Environment"]["Properties"]["ComputeResources"]
    resources["LaunchTemplate"] = {"LaunchTemplateId": {"Ref": "Hosts"}, "Version": "$Latest"}
    name = formation.create(template)
    assert formation.status(name) == "ROLLBACK_COMPLETE"
    assert "are exclusively allowed" in formation.reasons(name)
    del resources["SecurityGroupIds"]
    formation.created(template)


def test_what_a_queue_uses_cannot_be_deleted(formation: Formation, stack: str) -> None:
    client = formation.emulator.client("batch")
    environment, policy = (formation.physical_id(stack, name) for name in ("Environment", "Policy"))
    with pytest.raises(ClientError, match="resource must be DISABLED"):
        client.delete_compute_environment(computeEnvironment=environment)
    client.update_compute_environment(computeEnvironment=environment, state="DISABLED")
    with pytest.raises(ClientError, match="found existing JobQueue relationship"):
        client.delete_compute_environment(computeEnvironment=environment)
    with pytest.raises(ClientError, match="found existing JobQueue relationship"):
        client.delete_scheduling_policy(arn=policy)
    with pytest.raises(ClientError, match="resource must be DISABLED"):
        client.delete_job_queue(jobQueue=formation.physical_id(stack, "Queue"))


def test_a_queue_keeps_its_limits_until_they_are_taken_out(formation: Formation, stack: str) -> None:
    client = formation.emulator.client("batch")
    limit = {"Action": "CANCEL", "State": "RUNNABLE", "Reason": "CAPACITY", "MaxTimeSeconds": 600}
    assert formation.update(stack, changed("Queue.Properties.JobStateTimeLimitActions", [limit])) == (
        "UPDATE_COMPLETE"
    )
    queue = formation.physical_id(stack, "Queue")
    [found] = client.describe_job_queues(jobQueues=[queue])["jobQueues"]
    assert [action["maxTimeSeconds"] for action in found["jobStateTimeLimitActions"]] == [600]
    assert formation.update(stack, STACK) == "UPDATE_COMPLETE"
    [found] = client.describe_job_queues(jobQueues=[queue])["jobQueues"]
    assert found["jobStateTimeLimitActions"] == []


def test_a_policy_stays_with_its_queue(formation: Formation, stack: str) -> None:
    template = copy.deepcopy(STACK)
    del template["Resources"]["Queue"]["Properties"]["SchedulingPolicyArn"]
    assert formation.update(stack, template) == "UPDATE_ROLLBACK_COMPLETE"
    assert "Fair-share policy cannot be removed" in formation.reasons(stack)


def test_a_job_ends_well_and_runs_nothing(formation: Formation, stack: str) -> None:
    client = formation.emulator.client("batch")
    formation.created(DEFINITION)
    job = client.submit_job(
        jobName="j", jobQueue=formation.physical_id(stack, "Queue"), jobDefinition="d0", shareIdentifier="a"
    )["jobId"]
    [found] = client.describe_jobs(jobs=[job])["jobs"]
    assert found["status"] == "SUCCEEDED"


def test_a_dashboard_is_put_and_goes(formation: Formation) -> None:
    body = json.dumps({"widgets": []})
    template = {
        "Resources": {"D": {"Type": "AWS::CloudWatch::Dashboard", "Properties": {"DashboardBody": body}}}
    }
    name = formation.created(template)
    client = formation.emulator.client("cloudwatch")
    [held] = client.list_dashboards()["DashboardEntries"]
    assert held["DashboardName"] == formation.physical_id(name, "D")
    assert formation.delete(name) == "DELETE_COMPLETE"
    assert client.list_dashboards()["DashboardEntries"] == []
