"""Names that separate the resources of a ParallelCluster from the rest of an account."""

from __future__ import annotations


def iam_path(cluster_name: str) -> str:
    """Return the IAM path of a cluster's roles, profiles and policies.

    ParallelCluster's provider makes roles below `/parallelcluster/` only, and attaches no policies from elsewhere
    (source: aws-parallelcluster, policies/parallelcluster-policies.yaml). By default the roles of its functions are
    there without the cluster's name.
    """
    return f"/parallelcluster/{cluster_name}/"
