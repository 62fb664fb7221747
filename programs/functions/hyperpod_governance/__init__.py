"""Quotas and the scheduler configuration of a HyperPod cluster."""
