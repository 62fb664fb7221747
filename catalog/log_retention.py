"""The days for which CloudWatch Logs can keep logs."""

from __future__ import annotations

from typing import Literal

LogDays = Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653]
"""Retention that CloudWatch Logs accepts, in days (botocore: logs PutRetentionPolicy)."""
