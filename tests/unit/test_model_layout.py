"""The layout of a model over ranks: its arithmetic, the findings on a run that does not fit it, and the memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

import pytest

from catalog.finding import Finding
from tests.unit.rendering import TORCH
from workloads.checks import check_run
from workloads.footprint import GIB, Footprint, Share
from workloads.layout import Layout
from workloads.preset import Preset
from workloads.spec import Run

GPU = "p5.48xlarge"
RANKS = 8
"""Accelerators, and so ranks, of a node of that type."""


def run(
    layout: Layout | None,
    nodes: int,
    *,
    batch: int | None = None,
    instance_type: str = GPU,
    **changes: object,
) -> Run:
    preset = Preset("large", "a sample", (), GPU, nodes, global_batch=batch, layout=layout)
    workload = replace(TORCH, presets=MappingProxyType({"large": preset}), **changes)  # type: ignore[arg-type]
    return Run.on_type(workload, preset, instance_type, nodes)


def layout_findings(found: Run) -> list[Finding]:
    return [finding for finding in check_run(found) if finding.rule.startswith(("run-layout", "run-global"))]


@pytest.mark.parametrize(
    ("layout", "ranks", "copies", "experts"),
    [
        (Layout(), 7, 7, True),
        (Layout(tp=8), 16, 2, True),
        (Layout(tp=8, pp=4), 64, 2, True),
        (Layout(tp=8, pp=4, cp=2), 64, 1, True),
        (Layout(tp=8, pp=4, cp=2), 96, None, True),
        (Layout(tp=8, pp=2), 24, None, False),
        # Experts are spread over dp x cp ranks: here 4 and 8 of them.
        (Layout(tp=2, ep=4), 8, 4, True),
        (Layout(tp=2, ep=8), 8, 4, False),
        (Layout(tp=2, cp=2, ep=8), 16, 4, True),
        (Layout(tp=2, pp=2, ep=8), 32, 8, True),
    ],
)
def test_the_data_parallel_size_is_what_the_model_leaves(
    layout: Layout, ranks: int, copies: int | None, experts: bool
) -> None:
    assert layout.data_parallel(ranks) == copies
    assert layout.splits_experts(ranks) is experts


@pytest.mark.parametrize("size", ["tp", "pp", "cp", "ep", "micro_batch"])
def test_a_size_below_one_is_refused(size: str) -> None:
    with pytest.raises(ValueError, match=f"layout: {size} is 0"):
        Layout(**{size: 0})


@pytest.mark.parametrize(
    ("layout", "nodes", "batch", "rules"),
    [
        (None, 3, None, []),
        (None, 3, 64, ["run-global-batch"]),
        (Layout(tp=8, pp=2), 2, 64, []),
        (Layout(tp=8, pp=2), 3, 64, ["run-layout-ranks"]),
        # 24 ranks do not divide the batch, and the 3 copies of the model do.
        (Layout(tp=8), 3, 48, []),
        (Layout(tp=8), 3, 64, ["run-layout-batch"]),
        (Layout(tp=8, micro_batch=16), 3, 48, []),
        (Layout(tp=8, micro_batch=32), 3, 48, ["run-layout-batch"]),
        (Layout(tp=8, ep=4), 4, None, []),
        (Layout(tp=8, ep=3), 4, None, ["run-layout-experts"]),
        (Layout(tp=8, ep=3), 4, 30, ["run-layout-experts", "run-layout-batch"]),
        (Layout(tp=16), 2, None, ["run-layout-tensor"]),
        (Layout(tp=6), 3, None, ["run-layout-tensor"]),
        (Layout(pp=16), 2, None, []),
    ],
)
def test_a_run_that_does_not_fit_its_layout_has_a_finding(
    layout: Layout | None, nodes: int, batch: int | None, rules: list[str]
) -> None:
    assert [finding.rule for finding in layout_findings(run(layout, nodes, batch=batch))] == rules


@pytest.mark.parametrize(
    ("layout", "nodes", "batch", "hint"),
    [
        (Layout(tp=8, pp=4), 6, None, "4 or 8 nodes work"),
        (Layout(tp=8, pp=4), 2, None, "4 nodes work"),
        # 8 nodes fill the layout too, but a batch of 9 does not divide by their 2 copies of the model.
        (Layout(tp=8, pp=4), 6, 9, "4 or 12 nodes work"),
        (Layout(tp=8, ep=4), 5, 64, "4 or 8 nodes work"),
        (Layout(tp=8, micro_batch=2), 3, 7, "take a type with another number of accelerators"),
        (Layout(tp=8, pp=200), 6, None, "200 nodes work"),
    ],
)
def test_the_hint_names_the_nearest_numbers_of_nodes_that_keep_every_rule(
    layout: Layout, nodes: int, batch: int | None, hint: str
) -> None:
    found = layout_findings(run(layout, nodes, batch=batch))
    assert {finding.hint for finding in found} == {hint}
    for count in (int(word) for word in hint.split() if word.isdigit()):
        assert layout_findings(run(layout, count, batch=batch)) == []


def test_the_message_shows_the_arithmetic() -> None:
    [finding] = layout_findings(run(Layout(tp=8, pp=2), 3))
    assert finding.message == (
        "the preset 'large' of torch-sample splits the model over 16 ranks (tp 8 x pp 2), and 3 nodes of 8 are 24 "
        "ranks: no multiple"
    )
    assert (finding.path, finding.value) == ("nodes", "3")


def test_tensor_parallel_ranks_on_processors_are_no_matter_of_a_node() -> None:
    """Processors train by the size alone, to try a program: there is no faster link within a node."""
    assert layout_findings(run(Layout(tp=2), 2, instance_type="c6i.4xlarge")) == []


def test_the_run_has_its_data_parallel_size() -> None:
    assert run(Layout(tp=8, pp=2), 4).data_parallel == 2
    assert run(Layout(tp=8, pp=2), 3).data_parallel is None
    assert run(None, 4).data_parallel is None


def test_the_memory_estimate_gets_the_layout_and_is_checked_against_the_accelerator() -> None:
    """800 GiB of weights, split by tensors and layers alone: more copies of the model make none of them smaller."""

    def footprint(_arguments: Sequence[str], _ranks: int, layout: Layout | None) -> Footprint:
        parts = layout.tp * layout.pp if layout else 1
        return Footprint((Share("weights", 800 * GIB // parts, f"800 GiB / {parts}"),), (), 0, 0)

    def memory(layout: Layout | None, nodes: int) -> list[Finding]:
        found = check_run(run(layout, nodes, footprint=footprint))
        return [finding for finding in found if finding.rule == "run-accelerator-memory"]

    assert memory(Layout(tp=8, pp=2), 2) == []
    assert memory(Layout(tp=8, pp=2), 8) == []
    [finding] = memory(Layout(tp=8), 2)
    assert "800 GiB / 8 = 100.0 GiB" in finding.message
    assert finding.hint.startswith("by this estimate no number of nodes of the type is enough")
    assert memory(None, 2)


def test_numbers_of_nodes_for_the_layout_have_the_memory_too() -> None:
    """4 nodes fill the layout, and the memory of 8 is enough: both findings name 8."""

    def hints(nodes: int, gib: int) -> list[str]:
        def footprint(_arguments: Sequence[str], ranks: int, _layout: Layout | None) -> Footprint:
            return Footprint((Share("shards", gib * GIB // ranks, f"{gib} GiB / ranks"),), (), 0, 0)

        return [each.hint for each in check_run(run(Layout(tp=8, pp=4), nodes, footprint=footprint))]

    assert hints(3, 3000) == [
        "8 nodes work",
        "it fits on 8 nodes of the type, or take a type with more memory",
    ]
    assert hints(10, 3000) == ["8 or 12 nodes work"]
    # Where no number has the memory, those of the layout are named, and memory has its own finding.
    assert hints(3, 3_000_000)[0] == "4 nodes work"


def test_more_nodes_that_are_named_for_memory_fill_the_layout() -> None:
    def footprint(_arguments: Sequence[str], ranks: int, _layout: Layout | None) -> Footprint:
        return Footprint((Share("shards", 3000 * GIB // ranks, "3000 GiB / ranks"),), (), 0, 0)

    [finding] = check_run(run(Layout(tp=8, pp=4), 4, footprint=footprint))
    # 38 ranks are enough, so 5 nodes: the layout needs a multiple of 4.
    assert finding.hint == "it fits on 8 nodes of the type, or take a type with more memory"
