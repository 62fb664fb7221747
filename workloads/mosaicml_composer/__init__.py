"""Workload mosaicml-composer."""
