"""The `trainforge` command: one file a verb."""
