"""AWS ParallelCluster: its configuration from data types, and the custom resource that builds the cluster."""
