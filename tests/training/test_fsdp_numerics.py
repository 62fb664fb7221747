"""The fsdp workload on one, two and four ranks: the same losses, in whatever way it saves memory or shares out work."""

from __future__ import annotations

import json
import math
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ports import free_ports
from tests.training import fsdp_modules

assert fsdp_modules.torch  # without it this module is skipped

from fsdp_trainer.pretraining import Pretraining  # noqa: E402
from training.process_group import Ranks  # noqa: E402

from tests.training import numerics  # noqa: E402

# How far two ways to the same losses may be apart: their sums have other orders.
CLOSE = 1e-5
SECONDS = 500
BY_THE_BIT = ("selective", "full", "offloaded-activations", "offloaded-parameters")

Losses = dict[str, list[float]]


@pytest.fixture(scope="module")
def trained(artifacts: Callable[[str], Path], ranks: Ranks) -> Callable[[int], Losses]:
    """Return a function that trains in every way on a number of ranks, once each.

    One of the ways resumes what this process has begun, which is one rank.
    """
    done: dict[int, Losses] = {}
    alone = ranks

    def train(ranks: int) -> Losses:
        if ranks not in done:
            file = artifacts(f"fsdp-numerics-{ranks}") / "losses.json"
            begin(alone, file.parent / "begun")
            run_ranks(ranks, file, file.parent / "begun")
            found = json.loads(file.read_text(encoding="utf-8"))
            done[ranks] = {way: [float.fromhex(loss) for loss in losses] for way, losses in found.items()}
        return done[ranks]

    return train


def run_ranks(count: int, file: Path, begun: Path) -> None:
    """Run `numerics.main` on so many ranks: forks of a process that has loaded torch, which takes seconds."""
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["tests.training.fsdp_modules", "tests.training.numerics"])
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_ports(1)[0]), "WORLD_SIZE": str(count)}
    processes = []
    for rank in range(count):
        environment = {**place, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        processes.append(forks.Process(target=numerics.main, args=(environment, file, begun)))
        processes[-1].start()
    for process in processes:
        process.join(SECONDS)
        process.kill()
        process.join()
    assert [process.exitcode for process in processes] == [0] * count


def begin(alone: Ranks, folder: Path) -> None:
    """Train half of a run on one rank and save it."""
    run = Pretraining(numerics.BASE, alone, folder)
    while run.done < numerics.BASE.steps // 2:
        run.step()
    run.save(lambda _: None)
    run.finish_save(lambda _: None)
    run.close()


RANKS = [pytest.param(1, marks=pytest.mark.heavy), 2, pytest.param(4, marks=pytest.mark.heavy)]


def furthest(here: list[float], there: list[float]) -> float:
    return max(abs(one - other) for one, other in zip(here, there, strict=True))


@pytest.mark.parametrize("count", RANKS)
def test_ranks_agree_with_a_whole_model_trained_by_the_book(
    trained: Callable[[int], Losses], count: int
) -> None:
    found = trained(count)
    assert furthest(found["base"], found["bare"]) < CLOSE
    assert found["base"][-1] < 0.92 * found["base"][0]


@pytest.mark.parametrize("count", RANKS)
def test_what_saves_memory_changes_no_bit(trained: Callable[[int], Losses], count: int) -> None:
    found = trained(count)
    for way in BY_THE_BIT:
        assert found[way] == found["base"], way


@pytest.mark.parametrize("count", RANKS)
def test_how_work_is_shared_out_changes_rounding_alone(trained: Callable[[int], Losses], count: int) -> None:
    found = trained(count)
    ways = ["accumulated", *(["replicas"] if count % 2 == 0 else [])]
    for way in ways:
        assert furthest(found[way], found["base"]) < CLOSE, way
    # What is another model or other arithmetic must differ, or the ways were not taken.
    assert 1e-5 < furthest(found["bf16"], found["base"]) < 0.02
    assert furthest(found["unmasked"], found["base"]) > 1e-3
    assert furthest(found["experts"], found["base"]) > 1e-3


@pytest.mark.parametrize("count", RANKS)
def test_what_one_rank_began_is_resumed_on_more(trained: Callable[[int], Losses], count: int) -> None:
    """The second rank finds weights, moments and data, and no random state of its own."""
    found = trained(count)
    half = len(found["base"]) // 2
    assert len(found["resumed"]) == half
    assert furthest(found["resumed"], found["base"][half:]) < CLOSE


@pytest.mark.parametrize("count", RANKS)
def test_all_ranks_skip_a_step_that_is_infinite_on_one(trained: Callable[[int], Losses], count: int) -> None:
    found = trained(count)
    first = found["poisoned-0"]
    steps = len(found["base"])
    assert first[:steps] == [1.0] * 4 + [0.0] + [1.0] * (steps - 5)
    assert all(math.isfinite(value) for value in first)
    for rank in range(1, count):
        assert found[f"poisoned-{rank}"] == first


@pytest.mark.heavy
@pytest.mark.parametrize("count", [2, 4])
def test_every_way_gives_one_rank_s_losses(trained: Callable[[int], Losses], count: int) -> None:
    one, several = trained(1), trained(count)
    for way, losses in one.items():
        assert furthest(losses, several[way]) < CLOSE, way
