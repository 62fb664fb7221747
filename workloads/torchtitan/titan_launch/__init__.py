"""The launch of torchtitan: its Llama 3 on synthetic data, and processors in the place of GPUs."""
