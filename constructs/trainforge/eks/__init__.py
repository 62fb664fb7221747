"""Amazon EKS: the cluster, its node groups, and what reaches into it."""
