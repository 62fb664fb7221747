"""Data sources and dashboards of a workspace of Amazon Managed Grafana."""
