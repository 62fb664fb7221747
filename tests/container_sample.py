"""A workload with a container before its program, and one beside it that runs for ever."""

from __future__ import annotations

from dataclasses import replace

from workloads.asset import Asset
from workloads.containers import Container
from workloads.launchers import Command
from workloads.program import Program
from workloads.progress import Progress
from workloads.registry import workload

PREPARE = Container(
    name="prepare",
    command=("/bin/bash", "-c", 'mkdir -p "$DATA_FOLDER"; echo "$WORDS" > "$DATA_FOLDER/$HOSTNAME"'),
    when="before",
    environment={"WORDS": "$(HOSTNAME) as it is"},
)
WATCH = Container(
    name="watch",
    command=(
        "/bin/bash",
        "-c",
        "trap 'echo told; exit 0' TERM; echo watching; while true; do sleep 0.2; done",
    ),
    when="beside",
    memory_mib=256,
)

_TINY = workload("cpu-ddp").presets["tiny"]

SAMPLE = replace(
    workload("cpu-ddp"),
    launcher=Command(),
    program=Program(command=("cat", "$DATA_FOLDER/$HOSTNAME")),
    presets={"tiny": replace(_TINY, arguments=())},
    progress=Progress(),
    options="",
    global_batch_argument="",
    stages=(),
    assets=(Asset("sample", "sample", "DATA_FOLDER"),),
    containers=(PREPARE, WATCH),
)
"""It prints what the first container has written, and that is the words to the letter."""

PRINTED = "$(HOSTNAME) as it is"
