"""The launch of NeMo 2 recipes: the recipe of a command line, and a placeholder for machines without a GPU."""
