"""The launch of NeMo 1's pre-training: its configuration, and a placeholder for machines without a GPU."""
