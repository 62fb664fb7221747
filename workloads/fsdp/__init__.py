"""The room fsdp: pre-training of causal language models, sharded over all ranks."""
