"""Stacks: one deployable per file. They compose constructs from settings and hold no resources of their own."""
