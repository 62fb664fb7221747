"""Set-up of a node beyond ParallelCluster's own: containers, people, packages, an exporter, a certificate."""
