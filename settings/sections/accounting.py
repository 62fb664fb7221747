"""Settings of the database that holds Slurm's accounts."""

from __future__ import annotations

from pydantic import Field

from settings.sections.model import Model


class AccountingSettings(Model):
    """Aurora MySQL serverless for slurmdbd, used by every Slurm cluster of the deployment."""

    min_capacity_acu: float = Field(default=0.5, ge=0.5, le=256)
    """Least capacity in Aurora capacity units (about 2 GiB of memory each), in steps of a half."""
    max_capacity_acu: float = Field(default=4, ge=1, le=256)
    """Most capacity in Aurora capacity units, in steps of a half."""
    instances: int = Field(default=1, ge=1, le=3)
    """Database instances: one, or more in other zones that take over when it fails."""
    backup_days: int = Field(default=7, ge=1, le=35)
    """Days that automatic backups are kept when `retention` is durable; one day otherwise."""
    rotation_days: int = Field(default=90, ge=1, le=365)
    """Days after which the password is changed; slurmdbd on each cluster then needs the new one."""
