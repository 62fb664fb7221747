"""AWS Batch: the job definition of a multi-node parallel job, as RegisterJobDefinition takes it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from catalog.batch import SCRATCH, ULIMITS, UNHEALTHY_HOST, UNHEALTHY_OTHER, batch_devices, shared_memory_mib
from catalog.cluster_info import ClusterInfo
from catalog.instance_facts import InstanceFacts
from workloads.containers import Container
from workloads.entry import entry, folders, guard, program, unpacking
from workloads.launchers import RUN_ID, Needs, SchedulerVariables, Starts
from workloads.render.container_variables import variables_of
from workloads.render.runtime_programs import each_rank, mpi_rendezvous, rank0_host, supervised
from workloads.restarts import LOST_NODE, STALLED
from workloads.secret import Secret
from workloads.spec import Run

ATTEMPTS = 10
"""Attempts of a job whose program resumes: Batch's maximum, because only a lost host counts."""

HEALTH_ATTEMPTS = 3
"""Attempts of a job whose program does not resume where faulty hosts are terminated: our choice. Only a fault that was
found before the program started counts."""

HEALTH = "TRAINFORGE_HEALTH"
"""The variable by which the launch guard checks the node's health (runtime/node_health.py)."""

TERMINATE = "terminate"
"""Its value with which the host of a faulty node is terminated."""

TIMEOUT_SECONDS = 7 * 24 * 3600
"""Longest time of an attempt, in seconds: our choice, against a hung job that never releases its nodes.
Batch does not retry a job that ran out of it. Whoever submits may give another."""

MEMORY_SHARE = 0.95
"""Share of a node's memory that a job gets. The rest is for the ECS agent and the system's processes: the
Batch User Guide, "Reserve system memory", recommends a buffer of 5 %. A job that asks for more than the
agent registers is never placed, and Batch gives no reason."""

MIN_RESERVE_MIB = 512
"""Memory left to the system at least, in MiB, up to a half: our choice. The kernel's own part does not shrink
with the machine: the Batch User Guide, "Compute resource memory management", shows 7985 MiB left of 8192."""

MAIN_CONTAINER = "node"
"""The name of the program's container, where it has one: a node with several containers has names for them."""

_SHARED = "shared"
"""The name of the volume of the shared file system."""

DEFAULT_LOG_GROUP = "/aws/batch/job"
"""Batch's own log group, when cluster info names no group."""

_NODES_FOLDER = "$RUN_FOLDER/nodes/${AWS_BATCH_JOB_ID%%#*}.$AWS_BATCH_JOB_ATTEMPT"
"""Equal on the nodes of one attempt of a job: the id of a child node may end in # and its index."""

_LINE_WIDTH = 110
"""The maximum length of a value on one line."""


def batch(run: Run, info: ClusterInfo, *, header: str = "") -> str:
    """Return the job definition of a run as JSON, the input of RegisterJobDefinition.

    One range `0:` of nodes, so that whoever submits may ask for another number. JSON has no comments: the
    header is the first line of the script that every node runs.

    Raises:
        ValueError: the cluster info has no image of the workload, or lacks a secret that it needs.
    """
    priority = info.priorities.get(run.workload.name)
    definition = {
        "jobDefinitionName": f"{info.deployment}-{run.name}",
        "type": "multinode",
        "nodeProperties": {
            "numNodes": run.nodes,
            "mainNode": 0,
            "nodeRangeProperties": [{"targetNodes": "0:", **_node(run, info, header)}],
        },
        "retryStrategy": {
            "attempts": ATTEMPTS if run.resumes else HEALTH_ATTEMPTS if info.health == TERMINATE else 1,
            "evaluateOnExit": _rules(run, info),
        },
        "timeout": {"attemptDurationSeconds": TIMEOUT_SECONDS},
        # Within a share of a queue; a queue without shares ignores it.
        **({"schedulingPriority": priority} if priority else {}),
        "propagateTags": True,
        "platformCapabilities": ["EC2"],
        "tags": {
            "trainforge:deployment": info.deployment,
            "trainforge:workload": run.workload.name,
            "trainforge:preset": run.preset.name,
        },
    }
    return f"{_json(definition)}\n"


def _rules(run: Run, info: ClusterInfo) -> list[dict[str, str]]:
    """Return which end of an attempt is worth another one; the first rule that holds counts.

    The status reason is the one of the AWS Compute Blog, "Introducing retry strategies for AWS Batch".
    """
    checked = [UNHEALTHY_HOST, UNHEALTHY_OTHER] if info.health == TERMINATE else []
    # Before the program has started, so one that does not resume may start again too.
    rules = [{"onExitCode": str(code), "action": "RETRY"} for code in checked]
    if run.resumes or not checked:
        rules += [
            # A host that is gone is worth another try; a program that failed fails again.
            {"onStatusReason": "Host EC2*", "action": "RETRY"},
            # Batch gives no reason for hosts of child nodes: rank 0's node does.
            {"onExitCode": str(LOST_NODE), "action": "RETRY"},
            # No progress: the next start resumes from the last checkpoint.
            {"onExitCode": str(STALLED), "action": "RETRY"},
        ]
    # What no rule fits is retried, and a program's exit comes without a reason.
    return [*rules, {"onExitCode": "*", "action": "EXIT"}, {"onReason": "*", "action": "EXIT"}]


def _json(value: Any, indent: str = "") -> str:
    """Return readable JSON: short values on one line, two devices per line, and the rest spread over lines."""
    line = json.dumps(value)
    if not value or not isinstance(value, dict | list) or len(indent) + len(line) <= _LINE_WIDTH:
        return line
    inner = f"{indent}  "
    if isinstance(value, list) and all(isinstance(part, dict) and len(part) == 1 for part in value):
        pairs = [value[first : first + 2] for first in range(0, len(value), 2)]
        parts = [json.dumps(pair)[1:-1] for pair in pairs]
    elif isinstance(value, dict):
        parts = [f"{json.dumps(name)}: {_json(part, inner)}" for name, part in value.items()]
    else:
        parts = [_json(part, inner) for part in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n" + ",\n".join(f"{inner}{part}" for part in parts) + f"\n{indent}{closing}"


def memory_mib(instance: InstanceFacts) -> int:
    """Return the memory that a job's container gets on a node of this type, in MiB."""
    whole = instance.memory_mib
    return max(whole // 2, min(int(whole * MEMORY_SHARE), whole - MIN_RESERVE_MIB))


def log_group(info: ClusterInfo) -> str:
    """Return the CloudWatch log group of a cluster's jobs."""
    return info.log_group or DEFAULT_LOG_GROUP


def _node(run: Run, info: ClusterInfo, header: str) -> dict[str, Any]:
    """Return what every node runs: the program's container, with the workload's other containers where it has some."""
    main = _container(run, info, header)
    if not run.workload.containers:
        return {"container": main}
    roles = {"jobRoleArn": "taskRoleArn", "executionRoleArn": "executionRoleArn"}
    task = {name: main.pop(key) for key, name in roles.items() if key in main}
    instance_type, volumes = main.pop("instanceType"), main.pop("volumes")
    containers: list[dict[str, Any]] = []
    for each in run.workload.containers:
        containers.append({**_other(each, run, info, main), "dependsOn": _after(containers, run)})
    main = {"name": MAIN_CONTAINER, "essential": True, "dependsOn": _after(containers, run), **main}
    return {
        "instanceTypes": [instance_type],
        "ecsProperties": {
            "taskProperties": [{**task, "containers": [*containers, main], "volumes": volumes}]
        },
    }


def program_container(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the program's container of a range of nodes, or of a node's job; empty where there is none yet."""
    found: Mapping[str, Any] = node.get("container", {})
    for task in node.get("ecsProperties", {}).get("taskProperties", ()):
        found = next((each for each in task["containers"] if each.get("name") == MAIN_CONTAINER), found)
    return found


def _other(container: Container, run: Run, info: ClusterInfo, main: dict[str, Any]) -> dict[str, Any]:
    """Return a container besides the program's. The program's ends it: it alone is essential."""
    known = {secret.name: secret for secret in run.workload.secrets}
    assigned = variables_of(container, run, info.shared_folder)
    sizes = {"VCPU": container.vcpus, "MEMORY": container.memory_mib}
    return {
        "name": container.name,
        "image": container.image or main["image"],
        "essential": False,
        "command": list(container.command),
        "environment": [{"name": name, "value": value} for name, value in assigned.items()],
        "resourceRequirements": [{"type": kind, "value": str(value)} for kind, value in sizes.items()],
        "mountPoints": [each for each in main["mountPoints"] if each["sourceVolume"] == _SHARED],
        "logConfiguration": main["logConfiguration"],
        "secrets": _secrets([known[name] for name in container.secrets], run, info),
    }


def _after(before: Sequence[dict[str, Any]], run: Run) -> list[dict[str, str]]:
    """Return what a container waits for: those before it, until they have ended well, or started."""
    when = {each.name: each.when for each in run.workload.containers}
    return [
        {
            "containerName": each["name"],
            "condition": "SUCCESS" if when[each["name"]] == "before" else "START",
        }
        for each in before
    ]


def _container(run: Run, info: ClusterInfo, header: str) -> dict[str, Any]:
    """Return the program's container; it has the node for itself, but for what other containers take."""
    facts, others = run.facts, run.workload.containers
    resources = {
        "VCPU": run.vcpus - sum(each.vcpus for each in others),
        "MEMORY": memory_mib(facts) - sum(each.memory_mib for each in others),
    }
    if run.kind == "gpu":
        resources["GPU"] = run.accelerators_per_node
    devices = batch_devices(facts) if run.accelerated else ()
    folders = {_SHARED: info.shared_folder, "scratch": SCRATCH}
    container: dict[str, Any] = {
        "image": _image(run, info),
        "instanceType": run.instance_type,
        "command": ["/bin/bash", "-c", _script(run, info, header)],
        # A line that waits in a buffer is a run that looks hung.
        "environment": [
            {"name": "PYTHONUNBUFFERED", "value": "1"},
            *([{"name": RUN_ID, "value": run.id}] if run.id else []),
            *([{"name": HEALTH, "value": info.health}] if info.health else []),
        ],
        "resourceRequirements": [{"type": kind, "value": str(value)} for kind, value in resources.items()],
        "linuxParameters": {
            # The launcher would be process 1, which inherits orphans and ignores signals by default.
            "initProcessEnabled": True,
            "sharedMemorySize": shared_memory_mib(facts),
            # Under the same path, with permission to read, write and mknod: Batch's defaults (botocore, batch Device).
            "devices": [{"hostPath": path} for path in devices],
        },
        "ulimits": [
            {"name": limit.name, "softLimit": limit.soft_limit, "hardLimit": limit.hard_limit}
            for limit in ULIMITS
        ],
        "volumes": [{"name": name, "host": {"sourcePath": path}} for name, path in folders.items()],
        "mountPoints": [{"sourceVolume": name, "containerPath": path} for name, path in folders.items()],
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": log_group(info),
                "awslogs-region": info.region,
                "awslogs-stream-prefix": run.name,
            },
        },
        "secrets": _secrets(run.workload.secrets, run, info),
    }
    for purpose, property_ in (("job", "jobRoleArn"), ("execution", "executionRoleArn")):
        if purpose in info.roles:
            container[property_] = info.roles[purpose]
    return container


def _script(run: Run, info: ClusterInfo, header: str) -> str:
    """Return what every node runs. The number of nodes is Batch's, so that whoever submits may choose it."""
    variables = SchedulerVariables(
        rank0_host="$RANK0_HOST",
        node_rank="$AWS_BATCH_JOB_NODE_INDEX",
        # The id of a child node may end in # and its index; what is before is the job's, in every attempt.
        run_id=f"${{{RUN_ID}:-${{AWS_BATCH_JOB_ID%%#*}}}}",
        nodes="$AWS_BATCH_JOB_NUM_NODES",
    )
    launcher = run.workload.launcher
    match launcher.starts:
        case Starts.PER_JOB:
            # It starts all ranks from node 0, whose guard alone sees their progress.
            variables = replace(variables, guards="1")
            words = mpi_rendezvous(run, variables, _NODES_FOLDER)
        case Starts.PER_RANK:
            words = each_rank(run, variables)
        case Starts.PER_NODE:
            words = launcher.line(run, variables, program(run))
    address = rank0_host("batch", folders(run)[1]) if Needs.COORDINATOR in launcher.needs else ""
    line = supervised(
        run, variables, _NODES_FOLDER, [*guard(run, variables, started=variables.nodes), *words]
    )
    top = f"# {header}\n" if header else ""
    return f"{top}{unpacking(run)}{address}{entry(run, info, variables, line=line, guarded=False)}"


def _image(run: Run, info: ClusterInfo) -> str:
    """Return the image: a job in Batch is a container."""
    image = info.images.get(run.image_name)
    if not image:
        known = ", ".join(sorted(info.images)) or "none"
        raise ValueError(
            f"cluster '{info.cluster_name}' has no image of '{run.image_name}', and AWS Batch runs containers "
            f"only (images: {known}); name the workload in the configuration and deploy the stack again"
        )
    return image


def _secrets(secrets: Sequence[Secret], run: Run, info: ClusterInfo) -> list[dict[str, str]]:
    """Return where Batch takes each secret from: the ARN of one in Secrets Manager, or the name of an SSM parameter.

    A secret that is named but not there keeps a job from starting, so one that the cluster info lacks and the
    program can do without is left out.
    """
    found = []
    for secret in secrets:
        source = info.secrets.get(secret.name)
        if source:
            found.append({"name": secret.variable, "valueFrom": source})
        elif secret.required:
            raise ValueError(
                f"the info of '{info.cluster_name}' does not say where the secret '{secret.name}' of "
                f"'{run.workload.name}' is; give its ARN in the configuration and deploy the stack again"
            )
    return found
