"""Benchmark of synthesis: the whole against an empty app, and each added pool."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from catalog.cluster_kinds import KINDS
from tests.bench.measure import Measure, seconds, slope
from tests.synthesis import ROOT, context, synthesize

_CDK = str(ROOT / "node_modules" / ".bin" / "cdk")
_RATIO_BOUND = 2.0
_POOL_BOUNDS_MS = {
    name: (kind.stack_id, 15.0 if kind.sagemaker else 20.0) for name, kind in KINDS.items() if kind.stack_id
}
"""By the section of a cluster: its stack, and what an added pool may cost there."""
_POOLS = (1, 10, 20, 30, 40, 50)
_ROUNDS = 5
_REPEATS = 3

_EMPTY_APP = """\
import aws_cdk as cdk

app = cdk.App()
cdk.Stack(app, "Empty", env=cdk.Environment(region="us-west-2")).template_options.description = "empty"
cdk.CfnResource(app.node.find_child("Empty"), "Nothing", type="AWS::CloudFormation::WaitConditionHandle")
app.synth()
"""


def whole() -> Measure:
    """Compare `cdk synth` of the default configuration with that of an empty app, in turn, pair by pair."""
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder)
        (empty / "app.py").write_text(_EMPTY_APP, encoding="utf-8")
        (empty / "cdk.json").write_text(
            json.dumps({"app": "python3 app.py", "versionReporting": False, "context": context()}),
            encoding="utf-8",
        )
        command = [_CDK, "synth", "--quiet", "--no-notices", "--output"]
        ours_out, empty_out = str(empty / "ours"), str(empty / "out")

        def pair() -> tuple[float, float]:
            return seconds([*command, ours_out], cwd=ROOT), seconds([*command, empty_out], cwd=empty)

        pair()
        pairs = [pair() for _ in range(_ROUNDS)]
    ours, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
    return Measure(
        "`cdk synth` of the default configuration / of an empty app",
        statistics.median(one / other for one, other in pairs),
        _RATIO_BOUND,
        "",
        f"{ours:.2f} s / {bare:.2f} s, cdk-nag and built-in validation on, {_ROUNDS} pairs",
    )


def pools() -> Iterator[Measure]:
    """Synthesize clusters of 1 to 50 pools in this process; yield each one's slope, and the sizes at the end."""
    templates: list[dict[str, Any]] = []
    for cluster, (stack, bound) in _POOL_BOUNDS_MS.items():
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            synthesize(_configuration(work, 1, cluster), work / "warm")
            points = []
            for count in _POOLS:
                configuration = _configuration(work, count, cluster)
                points.append((count, min(_timed(configuration, work, i) for i in range(_REPEATS))))
            templates += synthesize(
                _configuration(work, _POOLS[-1], cluster), work / "last"
            ).templates.values()
        milliseconds, correlation = slope([(count, taken * 1000) for count, taken in points])
        yield Measure(
            f"an added pool in {stack}",
            milliseconds,
            bound,
            "ms",
            f"1 to 50 pools, best of {_REPEATS} each, correlation {correlation:.3f}",
        )
    most = max(len(template["Resources"]) for template in templates)
    yield Measure("resources of a template at 50 pools", most, 500, "")
    largest = max(len(json.dumps(template)) for template in templates)
    yield Measure("size of a template at 50 pools", largest / 1e6, 1, "MB")


def _timed(configuration: Path, work: Path, attempt: int) -> float:
    start = time.perf_counter()
    synthesize(configuration, work / f"{configuration.stem}-{attempt}")
    return time.perf_counter() - start


def _configuration(work: Path, count: int, cluster: str) -> Path:
    pools = {f"pool{i}": {"instance_type": "g5.8xlarge", "nodes": 2} for i in range(count)}
    path = work / f"pools{count}.yaml"
    settings = {
        "name": "bench",
        "region": "us-west-2",
        "availability_zones": ["us-west-2a", "us-west-2b"],
        "pools": pools,
        "storage": {"lustre": {}},
        cluster: {"pools": list(pools)},
    }
    # JSON is YAML.
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path
