"""Health checks on the nodes of Batch jobs: the guard's end, what Batch does then, and the termination of the host."""

from __future__ import annotations

import json
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import boto3
import exit_codes
import node_health
import pytest
from botocore.stub import ANY, Stubber

from catalog.batch import UNHEALTHY_HOST, UNHEALTHY_OTHER
from catalog.reference_types import GPU
from programs.functions.batch_host_termination import index
from tests.programs import ROOT
from tests.synthesis import Synthesis
from tests.unit.batch_sample import CPU_TYPE, container, definition, run_on
from tests.unit.health_node import HealthNode
from tests.unit.test_health_faults import gpu
from trainforge.batch.host_termination import TAG

STACK, NAME = "BatchStack", "batch-batch"
CLUSTER = "arn:aws:ecs:us-west-2:111122223333:cluster/AWSBatch-pool"
HOST = "arn:aws:ecs:us-west-2:111122223333:container-instance/AWSBatch-pool/0123"
TASK = "arn:aws:ecs:us-west-2:111122223333:task/AWSBatch-pool/4567"
TOPIC = "arn:aws:sns:us-west-2:111122223333:topic"
INSTANCE = "i-0123456789abcdef0"


@pytest.fixture
def node(tmp_path: Path) -> HealthNode:
    return HealthNode(tmp_path / "node", GPU)


def checked(node: HealthNode, action: str) -> tuple[int, str]:
    node._write_programs()
    environment = node.environment | {node_health.VARIABLE: action}
    return node_health.check(environment, 32, node.root)


def isolated(node: HealthNode) -> None:
    node.on_bus = 31


@pytest.mark.parametrize(
    ("fault", "action", "code"),
    [
        (None, "terminate", 0),
        (gpu(0, rows__failure="Yes"), "terminate", exit_codes.UNHEALTHY),
        (gpu(0, rows__pending="Yes"), "terminate", exit_codes.UNHEALTHY),
        (isolated, "terminate", exit_codes.UNAVAILABLE),
        (gpu(0, rows__failure="Yes"), "none", 0),
        (gpu(0, rows__failure="Yes"), "", 0),
    ],
)
def test_a_fault_ends_the_node_only_where_the_configuration_says_so(
    node: HealthNode,
    capsys: pytest.CaptureFixture[str],
    fault: Callable[[HealthNode], None] | None,
    action: str,
    code: int,
) -> None:
    if fault:
        fault(node)
    found, reason = checked(node, action)
    assert (found, bool(reason)) == (code, bool(code)), reason
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("health: ")]
    assert len(lines) == (1 if fault and action else 0)
    if lines:
        record = json.loads(lines[0].removeprefix("health: "))
        assert (record["exit_code"], len(record["findings"])) == (code, 1)
        assert record["action"] == ("terminate" if code == exit_codes.UNHEALTHY else "none")


def test_another_action_is_refused(node: HealthNode) -> None:
    with pytest.raises(ValueError, match="TRAINFORGE_HEALTH is 'reboot'; it is one of none, terminate"):
        checked(node, "reboot")


def test_the_codes_are_those_of_the_runtime_and_not_final() -> None:
    assert (exit_codes.UNHEALTHY, exit_codes.UNHEALTHY_OTHER) == (UNHEALTHY_HOST, UNHEALTHY_OTHER)
    assert not {UNHEALTHY_HOST, UNHEALTHY_OTHER} & exit_codes.FINAL


@pytest.mark.parametrize("resumes", [True, False])
def test_a_job_starts_again_after_a_faulty_host_and_only_then_if_it_does_not_resume(resumes: bool) -> None:
    found = definition(run_on(CPU_TYPE, resumes=resumes), health="terminate")
    assert {"name": "TRAINFORGE_HEALTH", "value": "terminate"} in container(found)["environment"]
    strategy = found["retryStrategy"]
    assert strategy["attempts"] == (10 if resumes else 3)

    def action(**ended: str) -> str:
        return next(
            rule["action"]
            for rule in strategy["evaluateOnExit"]
            if all(
                name == "action" or (name in ended and fnmatchcase(ended[name], pattern))
                for name, pattern in rule.items()
            )
        )

    assert action(onExitCode=str(UNHEALTHY_HOST)) == "RETRY"
    assert action(onExitCode=str(UNHEALTHY_OTHER)) == "RETRY"
    assert action(onExitCode="1") == "EXIT"
    lost = action(onStatusReason="Host EC2 (instance i-0123) terminated.", onExitCode="137")
    assert lost == ("RETRY" if resumes else "EXIT")


def test_without_termination_nothing_of_a_job_changes_but_the_check() -> None:
    before, recorded = definition(run_on(CPU_TYPE)), definition(run_on(CPU_TYPE), health="none")
    assert recorded["retryStrategy"] == before["retryStrategy"]
    added = container(recorded)["environment"][len(container(before)["environment"]) :]
    assert added == [{"name": "TRAINFORGE_HEALTH", "value": "none"}]


@pytest.fixture
def stacks(synthesized: Callable[[str], Synthesis]) -> Callable[[str], Synthesis]:
    text = (ROOT / "config/batch.yaml").read_text(encoding="utf-8")

    def made(health: str) -> Synthesis:
        return synthesized(text.replace("\nbatch:\n", f"\nbatch:\n  health: {health}\n"))

    return made


def test_the_function_may_terminate_this_stacks_hosts_alone(stacks: Callable[[str], Synthesis]) -> None:
    found = stacks("{action: terminate}")
    [rule] = [
        one["Properties"]
        for one in found.resources(STACK, "AWS::Events::Rule")
        if one["Properties"]["EventPattern"]["source"] == ["aws.ecs"]
    ]
    assert rule["EventPattern"]["detail"] == {
        "lastStatus": ["STOPPED"],
        "containers": {"exitCode": [UNHEALTHY_HOST]},
    }
    statements = [
        statement
        for policy in found.resources(STACK, "AWS::IAM::Policy")
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]
    [terminate] = [one for one in statements if one["Action"] == "ec2:TerminateInstances"]
    assert terminate["Condition"] == {"StringEquals": {f"aws:ResourceTag/{TAG}": NAME}}
    environments = found.resources(STACK, "AWS::Batch::ComputeEnvironment")
    assert {one["Properties"]["ComputeResources"]["Tags"][TAG] for one in environments} == {NAME}


@pytest.mark.parametrize("health", ["null", "{}"])
def test_nothing_may_be_terminated_by_default(stacks: Callable[[str], Synthesis], health: str) -> None:
    text = json.dumps(stacks(health).templates[STACK])
    assert "ec2:TerminateInstances" not in text
    assert TAG not in text


class Account:
    """Clients with answers that each test queues; a call that was not queued is an error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        given = {"region_name": "us-west-2", "aws_access_key_id": "k", "aws_secret_access_key": "s"}
        self.clients = {name: boto3.client(name, **given) for name in ("ecs", "ec2", "sns")}  # type: ignore[call-overload]
        self.stubs = {name: Stubber(client) for name, client in self.clients.items()}
        for stub in self.stubs.values():
            stub.activate()
        monkeypatch.setattr(index.boto3, "client", lambda name: self.clients[name])
        for name, value in {
            "EXIT_CODE": str(UNHEALTHY_HOST),
            "TAG_KEY": TAG,
            "TAG_VALUE": STACK,
            "TOPIC_ARN": TOPIC,
        }.items():
            monkeypatch.setenv(name, value)

    def host(self, running: int = 0) -> None:
        answer = {"ec2InstanceId": INSTANCE, "runningTasksCount": running, "pendingTasksCount": 0}
        asked = {"cluster": CLUSTER, "containerInstances": [HOST]}
        self.stubs["ecs"].add_response(
            "describe_container_instances", {"containerInstances": [answer]}, asked
        )

    def instance(self, state: str | None = "running") -> None:
        instances = [{"InstanceId": INSTANCE, "State": {"Name": state}}] if state else []
        answer = {"Reservations": [{"Instances": instances}]}
        filters = [
            {"Name": "instance-id", "Values": [INSTANCE]},
            {"Name": f"tag:{TAG}", "Values": [STACK]},
        ]
        self.stubs["ec2"].add_response("describe_instances", answer, {"Filters": filters})

    def terminates(self) -> None:
        self.stubs["ec2"].add_response("terminate_instances", {}, {"InstanceIds": [INSTANCE]})

    def publishes(self) -> None:
        asked = {"TopicArn": TOPIC, "Subject": ANY, "Message": ANY}
        self.stubs["sns"].add_response("publish", {"MessageId": "1"}, asked)

    def handle(self, **changes: Any) -> str:
        detail = {
            "clusterArn": CLUSTER,
            "containerInstanceArn": HOST,
            "taskArn": TASK,
            "lastStatus": "STOPPED",
            "containers": [{"exitCode": UNHEALTHY_HOST}],
            **changes,
        }
        result = index.handler({"detail": detail}, None)["result"]
        for stub in self.stubs.values():
            stub.assert_no_pending_responses()
        return result


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    return Account(monkeypatch)


def test_the_host_of_the_task_is_terminated_and_reported(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    account.host()
    account.instance()
    account.terminates()
    account.publishes()
    assert account.handle() == "terminated"
    record = json.loads(capsys.readouterr().out)
    assert (record["instance"], record["task"], record["result"]) == (INSTANCE, TASK, "terminated")


@pytest.mark.parametrize(("running", "state"), [(1, "running"), (0, "shutting-down")])
def test_a_host_with_other_tasks_or_that_goes_already_stays(
    account: Account, running: int, state: str
) -> None:
    account.host(running)
    account.instance(state)
    account.publishes()
    assert account.handle().startswith("nothing: ")


def test_another_deployments_host_is_left_without_a_message(account: Account) -> None:
    account.host()
    account.instance(None)
    assert account.handle() == "another deployment's"


@pytest.mark.parametrize(
    "changes",
    [{"containers": [{"exitCode": 1}, {}]}, {"lastStatus": "RUNNING"}, {"containerInstanceArn": ""}],
    ids=str,
)
def test_other_events_end_in_a_message_alone(account: Account, changes: dict[str, Any]) -> None:
    account.publishes()
    assert account.handle(**changes).startswith("nothing: ")
