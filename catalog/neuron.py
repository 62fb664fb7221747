"""Neuron devices: how many physical cores the runtime joins into a logical one (LNC), and the precisions they have.

A rank drives one logical core, so LNC decides how many ranks a node has. Sources, AWS Neuron documentation, read
2026-11-28: "Logical NeuronCore configuration" (1 and 2 are the only values, Trn2 and Trn3 alone have the choice, 2 is
the default of Trn2, and NEURON_LOGICAL_NC_CONFIG is the runtime's variable); "NCC_EARG001" (Trn1 takes 1 alone);
"Neuron Persistent Cache" (NEURON_COMPILE_CACHE_URL; `--cache_dir` in NEURON_CC_FLAGS goes before it); "NeuronCore-v2
Architecture" and "NeuronCore-v3 Architecture" (data types of the tensor engine; cFP8 is fp8 here). No source was found
for the default of Trn3, whose types the catalog does not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from catalog.instance_facts import Accelerator, Precision

LNC_VARIABLE: Final = "NEURON_LOGICAL_NC_CONFIG"
"""The variable from which the runtime and frameworks read the LNC. An older name is NEURON_RT_VIRTUAL_CORE_SIZE."""

COMPILE_CACHE_VARIABLE: Final = "NEURON_COMPILE_CACHE_URL"
"""The variable that names the folder of compiled graphs; without it each node compiles into its own /var/tmp."""

SUPPORTED_LNC: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"Inferentia2": (1,), "Trainium": (1,), "Trainium2": (2, 1)}
)
"""The values of LNC by device, the default first."""


_CORE_V2_AND_V3: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "fp8")

SUPPORTED_PRECISIONS: Mapping[str, tuple[Precision, ...]] = MappingProxyType(
    dict.fromkeys(("Inferentia2", "Trainium", "Trainium2"), _CORE_V2_AND_V3)
)
"""The precisions of matrix products by device: Inferentia2 and Trainium have NeuronCore-v2, Trainium2 has v3."""


def supported_lnc(accelerator: Accelerator) -> tuple[int, ...]:
    """Return the values of LNC that a Neuron device takes, the default first.

    A device of which no source was read has 1 alone: its ranks are its physical cores.
    """
    return SUPPORTED_LNC.get(accelerator.name, (1,))


def lnc_environment(accelerator: Accelerator, lnc: int) -> dict[str, str]:
    """Return the variable that sets LNC, so that it agrees with the ranks; none where the device has no choice."""
    return {} if SUPPORTED_LNC.get(accelerator.name) == (1,) else {LNC_VARIABLE: str(lnc)}


def logical_cores(accelerator: Accelerator, lnc: int) -> int:
    """Return how many logical cores all Neuron devices of an instance have together."""
    return (accelerator.total_cores or accelerator.count) // lnc
