"""Removal of the final backups that FSx takes of an OpenZFS file system when it is deleted."""

from trainforge.backup_cleanup.construct import BackupCleanup

__all__ = ["BackupCleanup"]
