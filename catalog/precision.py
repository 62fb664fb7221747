"""The precisions in which an accelerator computes matrix products.

Sources, read 2026-11-28: NVIDIA, "Datatype and hardware support matrix" of Transformer Engine (bf16 needs compute
capability 8.0 or higher, fp8 8.9 or higher); the T4 data sheet has fp16 and int8 alone besides fp32. Neuron devices:
`catalog.neuron`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from catalog.instance_facts import InstanceFacts, Precision
from catalog.neuron import SUPPORTED_PRECISIONS

MIN_COMPUTE_CAPABILITY: Mapping[Precision, str] = MappingProxyType({"bf16": "8.0", "fp8": "8.9"})
"""The compute capability from which GPUs have a precision. Every GPU of the catalog has fp16 and fp32."""


def lacks(facts: InstanceFacts, precision: Precision) -> str:
    """Return why the accelerators of an instance do not compute in a precision; empty where they do.

    It is empty too where no source was read of the accelerator, and without accelerators.
    """
    accelerator = facts.accelerator
    if accelerator is None:
        return ""
    if accelerator.kind == "neuron":
        has = SUPPORTED_PRECISIONS.get(accelerator.name)
        return "" if has is None or precision in has else f"{accelerator.name} has {', '.join(has)}"
    capability, least = facts.compute_capability, MIN_COMPUTE_CAPABILITY.get(precision)
    if capability is None or least is None or _number(capability) >= _number(least):
        return ""
    return f"{accelerator.name} has compute capability {capability}, and {precision} needs {least}"


def _number(capability: str) -> tuple[int, ...]:
    return tuple(map(int, capability.split(".")))
