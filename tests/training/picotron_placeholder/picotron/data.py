"""A placeholder for Picotron's data: batches of numbers, not shuffled, from the first again after the last."""

import torch
from torch.utils.data import DataLoader, DistributedSampler

SAMPLES = 44
"""Numbers of the data set: not a whole number of the batches of a run."""


class MicroBatchDataLoader(DataLoader):
    """A loader that yields without end."""

    def __init__(self, micro_batch_size: int, grad_acc_steps: int, rank: int, ranks: int) -> None:
        self.micro_batch_size, self.grad_acc_steps = micro_batch_size, grad_acc_steps
        data = torch.arange(SAMPLES).square()
        sampler = DistributedSampler(data, num_replicas=ranks, rank=rank, shuffle=False)
        super().__init__(data, batch_size=micro_batch_size, sampler=sampler, shuffle=False)

    def __next__(self) -> torch.Tensor:
        if self._iterator is None:
            self._iterator = super().__iter__()
        try:
            return next(self._iterator)
        except StopIteration:
            self._iterator = super().__iter__()
            return next(self._iterator)
