"""Ray Train's trainer for PyTorch, on a cluster that ends with the driver."""

from __future__ import annotations

from typing import Any

from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback

_UNUSED = (DatasetsCallback, PlacementGroupCleanerCallback)


class Trainer(TorchTrainer):
    """The trainer without two parts of Ray Train, each an actor of its own beside the ranks.

    One hands out data sets of Ray Data, and ranks read their data themselves. The other frees placement groups of a
    driver that was killed: the cluster ends with the driver, and the actor asks Ray's dashboard each second, which need
    not be there.
    """

    def _create_default_callbacks(self) -> list[Any]:
        return [each for each in super()._create_default_callbacks() if not isinstance(each, _UNUSED)]
