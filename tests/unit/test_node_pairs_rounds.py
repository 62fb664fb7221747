"""The rounds of a sweep over pairs of nodes: every slow node is found, and no other, in few rounds."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workloads" / "node_pairs"))

from node_pairs_rounds import Pair, Sweep

FAST, SLOW = 100.0, 40.0


def swept(nodes: int, slow: Iterable[int] = (), paths: Iterable[Pair] = (), least: float = 0.0) -> Sweep:
    """Return a sweep over nodes, some of which are slow, or slow with one another."""
    sweep = Sweep(nodes, least=least)
    while pairs := sweep.pairs():
        assert len({node for pair in pairs for node in pair}) == 2 * len(pairs), (
            "a node is in one pair of a round"
        )
        assert len(sweep.rounds) < nodes, "it ends"
        # Equal nodes differ by some per cent.
        sweep.add(
            {
                pair: SLOW if set(pair) & set(slow) or pair in set(paths) else FAST + sum(pair) % 7
                for pair in pairs
            }
        )
    return sweep


@pytest.mark.parametrize("nodes", [2, 4, 8, 64, 1000])
def test_an_even_number_of_equal_nodes_takes_one_round(nodes: int) -> None:
    sweep = swept(nodes)
    assert (len(sweep.rounds), sweep.slow, sweep.undecided, sweep.slow_pairs) == (1, [], [], [])


@pytest.mark.parametrize("nodes", [3, 5, 9])
def test_a_node_without_a_partner_gets_one_in_the_second_round(nodes: int) -> None:
    sweep = swept(nodes)
    assert (len(sweep.rounds), sweep.slow, sweep.undecided) == (2, [], [])


@pytest.mark.parametrize("nodes", [4, 5, 7, 64, 1000])
def test_a_slow_node_is_found_in_two_rounds_wherever_it_is(nodes: int) -> None:
    for slow in {0, 1, 2, nodes // 2, nodes - 1}:
        sweep = swept(nodes, [slow])
        assert (sweep.slow, sweep.undecided) == ([slow], []), slow
        # Of five, two good nodes are left for three in doubt.
        assert len(sweep.rounds) == (3 if nodes == 5 and slow < 4 else 2), slow


@pytest.mark.parametrize(
    ("nodes", "slow"), [(8, [0, 1]), (8, [0, 2]), (16, [3, 4, 9]), (64, [0, 5, 11, 30, 63])]
)
def test_several_slow_nodes_are_found(nodes: int, slow: list[int]) -> None:
    sweep = swept(nodes, slow)
    assert (sweep.slow, sweep.undecided) == (slow, [])
    assert len(sweep.rounds) <= 3


def test_two_nodes_that_are_slow_only_together_are_a_slow_pair() -> None:
    sweep = swept(8, paths=[(2, 3)])
    assert (sweep.slow, sweep.undecided, sweep.slow_pairs) == ([], [], [(2, 3)])


def test_a_set_that_is_slow_as_a_whole_is_told_by_a_minimum() -> None:
    every = range(4)
    assert swept(4, every).slow == []
    sweep = swept(4, every, least=FAST / 2)
    assert (sweep.slow, sweep.undecided) == ([], [0, 1, 2, 3])
    assert len(sweep.rounds) == 1, "nobody is left to compare with"
