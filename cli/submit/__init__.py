"""Submission: how a rendered manifest reaches its scheduler, one backend a file."""
