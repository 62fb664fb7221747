"""The workload bionemo: pre-training of the protein language model ESM-2."""
