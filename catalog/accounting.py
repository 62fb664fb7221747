"""Databases of Slurm's accounts: the deployment's own, and one that exists already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from catalog.fields import Bounds

PORT = 3306
"""The port of MySQL."""


@dataclass(frozen=True, slots=True)
class DatabaseSize:
    """The size of an Aurora MySQL serverless database for slurmdbd, used by every Slurm cluster of the deployment."""

    min_capacity_acu: Annotated[float, Bounds(0.5, 256)] = 0.5
    """Least capacity in Aurora capacity units (about 2 GiB of memory each), in steps of a half."""
    max_capacity_acu: Annotated[float, Bounds(1, 256)] = 4
    """Most capacity in Aurora capacity units, in steps of a half."""
    instances: Annotated[int, Bounds(1, 3)] = 1
    """Database instances: one, or more in other zones that take over when it fails."""
    backup_days: Annotated[int, Bounds(1, 35)] = 7
    """Days that automatic backups are kept when `retention` is durable; one day otherwise."""
    rotation_days: Annotated[int, Bounds(1, 365)] = 90
    """Days after which the password is changed; slurmdbd on each cluster then needs the new one."""


@dataclass(frozen=True, slots=True)
class ExternalDatabase:
    """An external MySQL-compatible database for Slurm accounting; absent: one on the controller."""

    endpoint: str
    """Host name of the database."""
    secret_arn: str
    """ARN of the Secrets Manager secret with its user name and password."""
    port: Annotated[int, Bounds(1, 65535)] = PORT
    """Port of the database."""
    name: str | None = None
    """Schema that holds the data; by default HyperPod derives one from the cluster's id."""
