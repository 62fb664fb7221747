"""The workload fsdp: pre-training of causal language models, sharded over all ranks."""
