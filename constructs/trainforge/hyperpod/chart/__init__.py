"""HyperPod's own chart on an EKS cluster, from its public source at a pinned commit."""

from trainforge.hyperpod.chart.construct import Components, HyperPodChart

__all__ = ["Components", "HyperPodChart"]
