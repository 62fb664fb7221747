"""Each change of Picotron that the launch makes in its own process; Picotron's files stay as they are.

On every machine, by `resume_data`:

1. The data continue where the checkpoint was taken: Picotron begins with the first text again. Its batches are not
   shuffled, so those that were used are passed over by their number.
2. A checkpoint is loaded to the host's memory first: each rank would load it to the GPU that it was saved from.

Where a package is not installed that Picotron imports always, by `stand_in`:

3. `wandb`, which it uses only if the configuration asks for it, which ours never does, and `flash_attn`, which it uses
   only with FLASH_ATTEN=1: modules of these names without content take their places.

Without a GPU, by `on_processors`:

4. `get_num_params` makes its tensor on the processor: Picotron names a GPU there.
5. `torch.cuda.synchronize`, which the pipeline and context parallelism call, does nothing.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import itertools
import sys
from types import ModuleType
from typing import Any

import torch

_FLASH = {
    "flash_attn": (),
    "flash_attn.flash_attn_interface": ("flash_attn_func",),
    "flash_attn.layers": (),
    "flash_attn.layers.rotary": ("apply_rotary_emb",),
    "flash_attn.ops": (),
    "flash_attn.ops.triton": (),
    "flash_attn.ops.triton.layer_norm": ("layer_norm_fn",),
}


def has_flash_attention() -> bool:
    """Return whether flash_attn is installed."""
    return importlib.util.find_spec("flash_attn") is not None


def stand_in() -> None:
    """Let Picotron be imported without packages that it does not use."""
    if importlib.util.find_spec("wandb") is None:
        sys.modules["wandb"] = ModuleType("wandb")
    if not has_flash_attention():
        for name, functions in _FLASH.items():
            module = ModuleType(name)
            for function in functions:
                setattr(module, function, None)
            sys.modules[name] = module


def on_processors() -> None:
    """Let Picotron train without a GPU."""
    used: Any = importlib.import_module("picotron.utils")
    used.torch = _OnProcessors()
    torch.cuda.synchronize = lambda *_: None


class _OnProcessors:
    """torch as `picotron.utils` sees it: its tensors are on the processor, whatever device is named."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def tensor(self, data: Any, device: Any = None, **more: Any) -> torch.Tensor:  # noqa: ARG002
        return torch.tensor(data, **more)


def resume_data() -> None:
    """Let a resumed run continue with the data that come next."""
    manager: Any = importlib.import_module("picotron.checkpoint").CheckpointManager
    loader: Any = importlib.import_module("picotron.data").MicroBatchDataLoader
    load, made = manager.load_checkpoint, loader.__init__
    loaders: list[Any] = []

    @functools.wraps(made)
    def init(self: Any, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        loaders.append(self)

    @functools.wraps(load)
    def load_checkpoint(self: Any, *arguments: Any, **named: Any) -> tuple[int, int]:
        read = torch.load
        torch.load = functools.partial(read, map_location="cpu")
        try:
            step, tokens = load(self, *arguments, **named)
        finally:
            torch.load = read
        for each in loaders:
            _pass_over(each, step * each.grad_acc_steps)
        return step, tokens

    loader.__init__ = init
    manager.load_checkpoint = load_checkpoint


def _pass_over(loader: Any, batches: int) -> None:
    """Let the first epoch of a loader begin after so many batches, those of whole epochs before left out."""
    begin = batches % len(loader) * loader.micro_batch_size
    loader.batch_sampler.sampler = _From(loader.batch_sampler.sampler, begin)


class _From:
    """A sampler that begins its first pass at a position."""

    def __init__(self, sampler: Any, begin: int) -> None:
        self._sampler = sampler
        self._begin = begin

    def __iter__(self) -> Any:
        begin, self._begin = self._begin, 0
        return itertools.islice(iter(self._sampler), begin, None)

    def __len__(self) -> int:
        return len(self._sampler)
