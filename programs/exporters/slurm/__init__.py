"""The exporter of a Slurm cluster: queues, nodes, GPUs, running jobs, the scheduler."""
