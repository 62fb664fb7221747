"""What other people's programs say of what we make: ParallelCluster's validators, in their own environment."""
