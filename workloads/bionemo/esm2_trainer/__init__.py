"""Pre-training of ESM-2: its sizes, its data, its masks, and its steps."""
