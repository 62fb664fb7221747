"""AWS ParallelCluster: its configuration from nouns, and the custom resource that builds the cluster."""
