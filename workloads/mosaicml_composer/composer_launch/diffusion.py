"""Stable Diffusion 2 on latents that were computed before: its U-Net with weights of its own learns to remove noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from composer import ComposerModel
from composer_launch.shards import column_of
from composer_sizes import DiffusionSize
from diffusers import DDPMScheduler, UNet2DConditionModel
from streaming import StreamingDataset

Batch = dict[str, torch.Tensor]


class Latents(StreamingDataset):
    """The latents of images and captions in MDS shards."""

    def __init__(self, size: DiffusionSize, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._size = size

    def __getitem__(self, at: int) -> Batch:
        """Return the latents of an image and its caption."""
        sample = super().__getitem__(at)
        image = np.frombuffer(sample[column_of(self._size)], np.float16)
        caption = np.frombuffer(sample["caption_latents"], np.float16)
        return {
            "image": torch.tensor(image).float().reshape(4, self._size.latent, self._size.latent),
            "caption": torch.tensor(caption).float().reshape(self._size.caption),
        }


def unet(size: DiffusionSize) -> UNet2DConditionModel:
    """Return the U-Net of Stable Diffusion 2 base (its unet/config.json), or a smaller one of the same form."""
    last = len(size.widths) - 1
    return UNet2DConditionModel(
        sample_size=size.latent,
        in_channels=4,
        out_channels=4,
        block_out_channels=size.widths,
        down_block_types=("CrossAttnDownBlock2D",) * last + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * last,
        attention_head_dim=size.heads,
        cross_attention_dim=size.caption[1],
        norm_num_groups=size.groups,
        use_linear_projection=True,
    )


class StableDiffusion(ComposerModel):
    """The U-Net, which predicts the noise that was added to latents."""

    def __init__(self, size: DiffusionSize) -> None:
        super().__init__()
        self.unet = unet(size)
        # The schedule of Stable Diffusion 2 base (its scheduler/scheduler_config.json).
        self._noise = DDPMScheduler(
            num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
        )

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the predicted noise, and the noise."""
        image = batch["image"]
        noise = torch.randn_like(image)
        times = torch.randint(0, len(self._noise), (len(image),), device=image.device)
        noisy = self._noise.add_noise(image, noise, times)
        return self.unet(noisy, times, batch["caption"]).sample, noise

    def loss(self, outputs: tuple[torch.Tensor, torch.Tensor], batch: Batch) -> torch.Tensor:  # noqa: ARG002
        """Return the mean square of the difference."""
        return torch.nn.functional.mse_loss(*outputs)
