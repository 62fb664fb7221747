"""The base images of workloads: their Dockerfile, and what each contains."""
