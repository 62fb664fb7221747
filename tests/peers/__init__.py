"""Checks of our output by other projects' programs: ParallelCluster's validators, in their own environment."""
