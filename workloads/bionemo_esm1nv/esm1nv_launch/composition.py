"""Hydra's composition of values over the names of BioNeMo's configuration, for the placeholder.

A name that BioNeMo's configuration lacks is refused, as BioNeMo's program would. Values that are not recorded are null.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from esm1nv_options import names
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf


def composed(words: Sequence[str]) -> DictConfig:
    """Return the configuration that Hydra composes of the recorded names and these values.

    Raises:
        hydra.errors.HydraException: a value cannot be read, or no such name is there.
    """
    recorded = OmegaConf.create({})
    for name, value in names().items():
        OmegaConf.update(recorded, name, value)
    with tempfile.TemporaryDirectory() as folder:
        OmegaConf.save(recorded, Path(folder) / "pretrain_small.yaml")
        with initialize_config_dir(folder, version_base="1.2"):
            return compose("pretrain_small", overrides=list(words))
