"""The launch of Megatron-LM: its own pre-training on GPUs, and a loop over megatron-core's GPT on processors."""
