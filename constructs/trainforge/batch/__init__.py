"""AWS Batch for jobs of many nodes: hosts, queues, roles, job definitions."""
