"""Submission of a rendered manifest to its scheduler: one backend per file."""
