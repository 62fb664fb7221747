"""Requests of `trainforge launch --on batch`: job definitions, overrides, and waiting."""

from __future__ import annotations

import copy
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from catalog.cluster_info import ClusterInfo
from tests.api_model import answer_problems, api_problems
from tests.programs import ROOT
from tests.synthesis import Synthesis
from tests.unit.launching import Launching, cluster_info

ASKED = ("--preset", "tiny", "--pool", "cpu")
ARN = "arn:aws:batch:us-west-2:111122223333:job-definition"


class Service:
    """Batch and CloudWatch Logs in place of the network; calls are held to botocore's model, both ways."""

    def __init__(self) -> None:
        self.definitions: list[dict[str, Any]] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.statuses: Iterator[str] = iter(())
        self.denied: set[str] = set()

    def __call__(self, client: Any, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        service = client.meta.service_model.service_name
        assert api_problems(service, operation, request) == ""
        self.calls.append((operation, request))
        if operation in self.denied:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, operation)
        answer: dict[str, Any] = getattr(self, f"_{operation}")(request)
        assert answer_problems(service, operation, answer) == ""
        return answer

    def asked(self, operation: str) -> list[dict[str, Any]]:
        return [request for name, request in self.calls if name == operation]

    def _RegisterJobDefinition(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["jobDefinitionName"]
        revision = 1 + sum(each["jobDefinitionName"] == name for each in self.definitions)
        made = {
            **copy.deepcopy(request),
            "revision": revision,
            "jobDefinitionArn": f"{ARN}/{name}:{revision}",
            # Of the service's own.
            "status": "ACTIVE",
            "containerOrchestrationType": "ECS",
        }
        self.definitions.append(made)
        return {key: made[key] for key in ("jobDefinitionName", "jobDefinitionArn", "revision")}

    def _DescribeJobDefinitions(self, request: dict[str, Any]) -> dict[str, Any]:
        assert request["status"] == "ACTIVE"
        name = request["jobDefinitionName"]
        return {"jobDefinitions": [each for each in self.definitions if each["jobDefinitionName"] == name]}

    def _SubmitJob(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"jobId": "0a1b", "jobName": request["jobName"]}

    def _ListJobs(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"jobSummaryList": []}

    def _DescribeJobs(self, request: dict[str, Any]) -> dict[str, Any]:
        (job,) = request["jobs"]
        found = {"jobId": job, "jobName": "n", "jobQueue": "q", "jobDefinition": "d", "startedAt": 0}
        if job == "0a1b#0":
            return {
                "jobs": [{**found, "status": "FAILED", "container": {"exitCode": 66, "logStreamName": "s"}}]
            }
        return {"jobs": [{**found, "status": next(self.statuses)}]}

    def _GetLogEvents(self, request: dict[str, Any]) -> dict[str, Any]:
        assert request["logGroupName"] == "/trainforge/demo/batch"
        assert request["logStreamName"] == "s"
        events = [] if "nextToken" in request else [{"message": "step=1"}]
        return {"events": events, "nextForwardToken": "end"}


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    made = Service()
    monkeypatch.setattr(
        BaseClient, "_make_api_call", lambda client, name, request: made(client, name, request)
    )
    monkeypatch.setattr("cli.submit.batch_job.POLL_SECONDS", 0)
    return made


@pytest.fixture
def info() -> ClusterInfo:
    return cluster_info("batch")


def test_one_definition_serves_any_number_of_nodes_and_any_run(
    launch: Launching, service: Service, info: ClusterInfo
) -> None:
    for more in (("--nodes", "4"), ("--nodes", "2"), ("--nodes", "2", "--run-id", "tuesday")):
        result = launch("batch", *ASKED, *more, info=info)
        assert result.exit_code == 0, result.output
    assert len(service.definitions) == 1
    plain, smaller, named = service.asked("SubmitJob")
    assert plain["nodeOverrides"] == {"numNodes": 4}
    assert smaller["nodeOverrides"] == {"numNodes": 2}
    assert {request["jobDefinition"] for request in (plain, smaller, named)} == {f"{ARN}/demo-cpu-ddp-tiny:1"}
    assert named["jobName"] == "cpu-ddp-tiny-tuesday"
    assert overridden(named) == {"TRAINFORGE_RUN_ID": "tuesday"}
    assert "tuesday" not in str(service.definitions)
    assert not {"shareIdentifier", "schedulingPriorityOverride"} & plain.keys()
    assert "with TRAINFORGE_RUN_ID=tuesday, of definition 'demo-cpu-ddp-tiny'" in result.output


def test_variables_are_the_jobs_and_those_that_the_script_sets_the_definitions(
    launch: Launching, service: Service, info: ClusterInfo
) -> None:
    """A container's variable is lost where the script of the definition exports one of that name."""
    signals = "PET_SIGNALS_TO_HANDLE=SIGTERM"
    for more in ((), ("--env", "SIZE=$5 it's"), ("--env", "SIZE=2", "--env", signals, "--run-id", "tuesday")):
        result = launch("batch", *ASKED, *(str(word) for word in more), info=info)
        assert result.exit_code == 0, result.output
        assert "SIZE" not in result.stdout.partition("  what ")[2]
    plain, sized, signalled = service.asked("SubmitJob")
    assert "nodePropertyOverrides" not in plain["nodeOverrides"]
    assert plain["jobDefinition"] == sized["jobDefinition"] == f"{ARN}/demo-cpu-ddp-tiny:1"
    assert overridden(sized) == {"SIZE": "$5 it's"}
    assert signalled["jobDefinition"] == f"{ARN}/demo-cpu-ddp-tiny:2"
    assert overridden(signalled) == {"SIZE": "2", "TRAINFORGE_RUN_ID": "tuesday"}
    assert f"export {signals}\\n" in json.dumps(service.definitions[1])


def overridden(submitted: dict[str, Any]) -> dict[str, str]:
    """Return the variables that all nodes of a job are given."""
    (override,) = submitted["nodeOverrides"]["nodePropertyOverrides"]
    assert override["targetNodes"] == "0:"
    return {each["name"]: each["value"] for each in override["containerOverrides"]["environment"]}


@pytest.mark.parametrize("change", ["preset", "image"])
def test_what_differs_is_registered(
    launch: Launching, service: Service, info: ClusterInfo, change: str
) -> None:
    assert launch("batch", *ASKED, info=info).exit_code == 0
    if change == "image":
        info = replace(info, images={"cpu-ddp": "registry.example/cpu-ddp:2"})
        assert launch("batch", *ASKED, info=info).exit_code == 0
    else:
        assert launch("batch", "--preset", "reference", "--pool", "cpu", info=info).exit_code == 0
    assert len(service.definitions) == 2
    first, second = (request["jobDefinition"] for request in service.asked("SubmitJob"))
    assert (first, second) == (
        f"{ARN}/demo-cpu-ddp-tiny:1",
        f"{ARN}/demo-cpu-ddp-{'tiny:2' if change == 'image' else 'reference:1'}",
    )


def test_the_definition_that_the_stack_made_is_taken(
    launch: Launching, service: Service, info: ClusterInfo
) -> None:
    assert launch("batch", *ASKED, "--nodes", "2", info=info).exit_code == 0
    (made,) = service.definitions
    name = "demo-cpu-ddp-tiny-2xcpu"
    made.update(jobDefinitionName=name, jobDefinitionArn=f"{ARN}/{name}:1")
    # CloudFormation's, too.
    made["tags"]["aws:cloudformation:stack-name"] = "demo-batch"
    assert launch("batch", *ASKED, "--nodes", "2", info=info).exit_code == 0
    assert service.asked("SubmitJob")[-1]["jobDefinition"] == f"{ARN}/{name}:1"
    made["nodeProperties"]["nodeRangeProperties"][0]["container"]["environment"].append(
        {"name": "MORE", "value": "1"}
    )
    assert launch("batch", *ASKED, "--nodes", "2", info=info).exit_code == 0
    assert service.asked("SubmitJob")[-1]["jobDefinition"] == f"{ARN}/demo-cpu-ddp-tiny:1"


@pytest.mark.parametrize("stale", ["secrets", "devices"])
def test_a_definition_with_more_secrets_or_devices_than_the_run_has_is_not_taken(
    launch: Launching, service: Service, info: ClusterInfo, stale: str
) -> None:
    """A list that the run leaves empty is compared as one that has members: what it lost must not come back."""
    assert launch("batch", *ASKED, info=info).exit_code == 0
    (made,) = service.definitions
    (nodes,) = made["nodeProperties"]["nodeRangeProperties"]
    container = nodes["container"]
    if stale == "secrets":
        container["secrets"] = [
            {"name": "HF_TOKEN", "valueFrom": "arn:aws:secretsmanager:us-west-2:1:secret:x"}
        ]
    else:
        device = {"hostPath": "/dev/infiniband", "containerPath": "/dev/infiniband", "permissions": ["READ"]}
        container["linuxParameters"]["devices"] = [device]
    assert launch("batch", *ASKED, info=info).exit_code == 0
    assert service.asked("SubmitJob")[-1]["jobDefinition"] == f"{ARN}/demo-cpu-ddp-tiny:2"


def test_a_definition_without_the_lists_that_a_run_leaves_empty_is_taken(
    launch: Launching, service: Service, info: ClusterInfo
) -> None:
    """The service may leave an empty list out of its answer."""
    assert launch("batch", *ASKED, info=info).exit_code == 0
    (made,) = service.definitions
    (nodes,) = made["nodeProperties"]["nodeRangeProperties"]
    del nodes["container"]["secrets"], nodes["container"]["linuxParameters"]["devices"]
    assert launch("batch", *ASKED, info=info).exit_code == 0
    assert len(service.definitions) == 1


def test_a_user_who_may_not_describe_definitions_registers_one(
    launch: Launching, service: Service, info: ClusterInfo
) -> None:
    service.denied = {"DescribeJobDefinitions"}
    assert launch("batch", *ASKED, info=info).exit_code == 0
    assert len(service.definitions) == 1


@pytest.mark.parametrize(
    ("more", "share"), [((), "research"), (("--share", "production"), "production")], ids=["default", "named"]
)
def test_a_queue_with_shares_is_given_one_and_the_workloads_priority(
    launch: Launching, service: Service, info: ClusterInfo, more: tuple[str, ...], share: str
) -> None:
    shared = replace(info, shares=("research", "production"), priorities={"cpu-ddp": 7})
    assert launch("batch", *ASKED, *more, info=shared).exit_code == 0
    (submitted,) = service.asked("SubmitJob")
    assert (submitted["shareIdentifier"], submitted["schedulingPriorityOverride"]) == (share, 7)


@pytest.mark.parametrize(
    ("cluster", "told"),
    [
        ("batch", "has no share 'theirs' (it has none); name one with --share. Nothing was submitted"),
        ("hyperpod", "'--share' has no effect on hyperpod\n  it is for batch"),
    ],
)
def test_a_share_that_is_not_there(launch: Launching, service: Service, cluster: str, told: str) -> None:
    sbatch = launch.fake_sbatch()
    result = launch(cluster, *ASKED, "--share", "theirs", info=cluster_info(cluster))
    assert result.exit_code == 2
    assert told in result.stderr
    assert service.calls == []
    assert not sbatch.exists()


def test_waiting_prints_the_log_and_ends_with_the_exit_code(
    launch: Launching, service: Service, info: ClusterInfo
) -> None:
    service.statuses = iter(["RUNNABLE", "RUNNING", "FAILED"])
    result = launch("batch", *ASKED, "--wait", info=info)
    assert result.exit_code == 66
    assert "\nstep=1\nthe job ended with exit code 66\n" in result.stdout
    assert "job 0a1b failed: no reason given; the main node's exit code is 66\n" in result.stderr


def test_a_stopped_wait_prints_how_to_end_the_job(
    launch: Launching, service: Service, info: ClusterInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.submit.batch_job.BatchJob._look", interrupted)
    result = launch("batch", *ASKED, "--wait", info=info)
    assert result.exit_code == 130
    assert result.stderr == (
        "stopped waiting; the job is still running; end it with\n"
        "  aws batch terminate-job --region us-west-2 --job-id 0a1b --reason REASON\n"
    )


def test_a_run_of_the_configuration_goes_to_the_stacks_own_definition(
    launch: Launching, service: Service, synthesis: Callable[[str], Synthesis]
) -> None:
    """The stack's definition, with the values that its cluster info publishes, is exactly what launch expects."""
    stack = synthesis("config/batch.yaml")
    for resource in stack.resources("BatchStack", "AWS::Batch::JobDefinition"):
        definition = in_the_api(deployed(resource["Properties"]))
        name = definition["jobDefinitionName"]
        service.definitions.append(
            {**definition, "revision": 1, "jobDefinitionArn": f"{ARN}/{name}:1", "status": "ACTIVE"}
        )
    (info,) = (
        deployed(resource["Properties"]["Value"])
        for resource in stack.resources("BatchStack", "AWS::SSM::Parameter")
        if resource["Properties"]["Name"] == ClusterInfo.parameter_name("batch", "batch")
    )
    asked = ("-c", str(ROOT / "config" / "batch.yaml"), "--pool", "cpu", "--nodes", "2")
    result = launch("batch", *asked, info=ClusterInfo.from_json(info))
    assert result.exit_code == 0, result.output
    assert service.asked("RegisterJobDefinition") == []
    (submitted,) = service.asked("SubmitJob")
    assert submitted["jobDefinition"] == f"{ARN}/batch-cpu-ddp-reference-2xcpu:1"
    assert submitted["shareIdentifier"] == "production"


def deployed(value: Any) -> Any:
    """Return a part of a template as it is when it is deployed: what AWS fills in is the same word everywhere."""
    if isinstance(value, list):
        return [deployed(member) for member in value]
    if not isinstance(value, dict):
        return value
    if "Fn::Join" in value:
        separator, parts = value["Fn::Join"]
        return str(separator).join(deployed(parts))
    if len(value) == 1 and (key := next(iter(value))) and (key == "Ref" or key.startswith("Fn::")):
        return f"value-{zlib.crc32(json.dumps(value).encode())}"
    return {key: deployed(member) for key, member in value.items()}


def in_the_api(value: Any) -> Any:
    """Return CloudFormation's spelling of a definition in the API's."""
    if isinstance(value, list):
        return [in_the_api(member) for member in value]
    if not isinstance(value, dict):
        return value
    return {
        key[0].lower() + key[1:]: member if key in ("Tags", "Options") else in_the_api(member)
        for key, member in value.items()
    }
