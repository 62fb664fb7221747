"""Parameters of the database for which Slurm or security requires another value than MySQL's default."""

from __future__ import annotations

USER = "slurm"
"""The user that slurmdbd logs in as. It owns the server: slurmdbd makes its own schema."""

PARAMETERS = {
    # Connections without TLS are refused.
    "require_secure_transport": "ON",
    # Slurm's accounting guide, "MySQL Configuration": with a shorter wait slurmdbd logs an error at its start, and
    # long rollups give up.
    "innodb_lock_wait_timeout": "900",
}
"""By name, as MySQL takes them. What else Slurm's guide names (sizes of pool and log) Aurora sets by capacity."""
