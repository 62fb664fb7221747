"""A Kubernetes control plane on loopback, with the controllers that a cluster's releases name."""
