"""The instance types of examples: one of each kind, so that no other source file names one.

A workload's reference preset takes its type from here, and so do the committed manifests. Each is a type that the
catalog knows and HyperPod takes; a test holds that.
"""

from __future__ import annotations

from typing import Final

CPU: Final = "c6i.4xlarge"
"""8 cores and 32 GiB without accelerators: the type of `config/cpu.yaml`, cheap and everywhere."""

GPU: Final = "p5.48xlarge"
"""8 H100 GPUs and 32 EFA interfaces: the type most multi-node training was published on."""

NEURON: Final = "trn1.32xlarge"
"""16 Trainium chips of two cores and 8 EFA interfaces: the type of `config/trn1.yaml`."""

REFERENCE_TYPES: Final = (CPU, GPU, NEURON)
