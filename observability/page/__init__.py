"""Pages of dashboards without Grafana: HTML from a dashboard's own document and a Prometheus, readable on a phone.

For documentation and review, and where no Grafana can be had: `python -m observability.page --help`.
"""
