"""The probe of NCCL within one node: all_reduce_perf of nccl-tests over all of its GPUs."""

from __future__ import annotations

import re

from .nvidia_smi import program
from .session import NotJudged, Session, Skipped
from .severity import Severity

_SECONDS = 600
_WRONG = re.compile(r"^# Out of bounds values : (?P<count>\d+) (?P<verdict>OK|FAILED)", re.MULTILINE)
_BANDWIDTH = re.compile(r"^# Avg bus bandwidth\s*: (?P<busbw>[\d.]+)", re.MULTILINE)


def check_all_reduce(session: Session) -> None:
    """Run an all-reduce of 1 GiB over the node's GPUs; compare the bandwidth with --min-busbw where it is given."""
    program(session)
    expected = session.expected
    if expected is None:
        raise Skipped("the type is unknown, and so the number of GPUs")
    if expected.count < 2:
        raise Skipped(f"'{expected.instance_type}' has one GPU")
    perf = session.find("all_reduce_perf", "/opt/nccl-tests/build")
    if perf is None:
        raise Skipped("all_reduce_perf is absent; the image of the workload nccl-tests has it")
    words = [perf, "-b", "1G", "-e", "1G", "-n", "20", "-w", "5", "-c", "1", "-g", str(expected.count)]
    ran = session.run(words, _SECONDS)
    if ran.code != 0:
        session.found("all-reduce", "node", ran.end, "a run over all GPUs")
        return
    wrong, bandwidth = _WRONG.search(ran.output), _BANDWIDTH.search(ran.output)
    if wrong is None or bandwidth is None:
        raise NotJudged(f"'{ran.command}' prints no summary: {ran.said}")
    if wrong["verdict"] != "OK":
        session.found("all-reduce", "node", f"{wrong['count']} wrong values", 0)
        return
    least, busbw = session.options.min_busbw, float(bandwidth["busbw"])
    if least is None:
        session.found(
            "all-reduce-bandwidth",
            "node",
            f"{busbw} GB/s",
            "no threshold: --min-busbw is not given",
            Severity.OK,
        )
    elif busbw < least:
        session.found(
            "all-reduce-bandwidth", "node", f"{busbw} GB/s", f"at least {least} GB/s", Severity.MONITOR
        )
