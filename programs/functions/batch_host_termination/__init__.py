"""Termination of hosts of AWS Batch that a job's health checks found faulty."""
