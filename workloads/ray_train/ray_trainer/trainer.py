"""Ray Train's trainer for PyTorch, on a cluster that ends with the driver."""

from __future__ import annotations

from typing import Any

from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback


class Trainer(TorchTrainer):
    """The trainer without the actor that frees placement groups of a driver that was killed.

    The cluster ends with the driver, and the actor asks Ray's dashboard each second, which need not be there.
    """

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()
        return [each for each in callbacks if not isinstance(each, PlacementGroupCleanerCallback)]
