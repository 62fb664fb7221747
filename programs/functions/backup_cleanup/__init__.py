"""The deletion of final backups of file systems."""
