"""Custom actions of ParallelCluster nodes, packed into one file."""
