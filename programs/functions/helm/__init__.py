"""The installation of Helm charts on an EKS cluster."""
