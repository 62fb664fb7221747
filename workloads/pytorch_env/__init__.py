"""The workload pytorch-env."""
