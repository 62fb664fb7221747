"""The workload picotron: 4D-parallel pre-training of SmolLM by Hugging Face's Picotron."""
