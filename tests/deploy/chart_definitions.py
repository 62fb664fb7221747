"""Custom resource definitions that the emulator's clusters get, by the release or add-on that brings them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from catalog.operators import DEFINITIONS

CHART_DEFINITIONS: Final[Mapping[str, tuple[str, ...]]] = {
    **DEFINITIONS,
    # The release is called otherwise than the catalog's operator.
    "kubeflow-trainer": DEFINITIONS["trainer"],
}
