"""The database that holds Slurm's accounts, and the rotation of its password."""
