"""Samples depend on the seed and on their index, and on nothing else."""

from __future__ import annotations

from tests.programs import require_module

torch = require_module("torch", "make setup-train installs it")

from training.digits import Synthetic  # noqa: E402 the folder is that of a container's PYTHONPATH


def test_a_sample_is_the_same_wherever_it_is_taken() -> None:
    whole, labels = Synthetic(3).take(range(8))
    part, some = Synthetic(3).take(range(5, 8))
    assert torch.equal(whole[5:], part)
    assert torch.equal(labels[5:], some)


def test_another_seed_gives_other_noise_and_other_labels() -> None:
    """With a seed above the 32 bits that the generator takes, the noise would be the same."""
    noise = []
    for seed in (1, 2):
        source = Synthetic(seed)
        images, labels = source.take(range(64))
        noise.append((images - source._prototypes[labels], labels))
    assert not torch.equal(noise[0][0], noise[1][0])
    assert not torch.equal(noise[0][1], noise[1][1])
