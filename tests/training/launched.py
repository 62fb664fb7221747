"""`python -m tests.training.launched FOLDER STALL_SECONDS`: the fsdp workload's tiny preset, slowed down, as
`trainforge launch --on local` runs it, which starts a stalled run again. The command itself takes no arguments for the
program."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from cli.cluster_info import local_info
from cli.submit.local import local_submission
from tests.training.faults import SLOW
from workloads import registry
from workloads.render.local import local
from workloads.spec import Run


def main(folder: Path, stall_seconds: str) -> int:
    """Run it and return its exit code."""
    workload = registry.workload("fsdp")
    tiny = workload.presets["tiny"]
    preset = dataclasses.replace(tiny, arguments=(*tiny.arguments, SLOW))
    environment = {"TRAINFORGE_STALL_SECONDS": stall_seconds}
    run = Run.on_type(workload, preset, preset.instance_type, 2, id="t1", environment=environment)
    info = local_info(folder)
    return local_submission(run, info, local(run, info)).send().wait()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
