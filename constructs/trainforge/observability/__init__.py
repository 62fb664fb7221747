"""Metrics and alerts of a deployment: the workspace, its alert manager, Grafana, and alarms of CloudWatch."""
