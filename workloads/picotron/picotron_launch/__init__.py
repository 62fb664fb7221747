"""The launch of Picotron: its configuration, its checkpoints, synthetic data, and what is changed of it."""
