"""The workload neuronx-distributed."""
