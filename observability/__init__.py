"""Alerts and dashboards as code: both are texts that stacks deploy, made from the metrics that the catalog records.

It imports the catalog only, and knows neither stacks nor settings (docs/adr/0007).
"""
