"""Exporters of metrics on made-up nodes, and a real Prometheus that scrapes them."""
