"""Helm charts of others on an EKS cluster, installed while its stack is deployed."""

from trainforge.helm.charts import RepositoryChart, SourceChart

__all__ = ["RepositoryChart", "SourceChart"]
