"""The `trainforge` command: one file per verb."""
