"""What nodes of a ParallelCluster run beside ParallelCluster's own set-up, packed into one file."""
