"""A real Slurm on this machine, for tests of what runs on clusters that Slurm schedules."""
