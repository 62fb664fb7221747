"""What ParallelCluster does not set up on a node: containers, people, packages, an exporter, a certificate."""
