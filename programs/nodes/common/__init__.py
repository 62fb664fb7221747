"""Steps that nodes of HyperPod and ParallelCluster share: people, packages, containers, a directory, accounting."""
