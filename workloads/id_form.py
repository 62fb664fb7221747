"""The form of names that become a part of a job's name and of a folder's: ids of runs, names of stages."""

from __future__ import annotations

import re

MAX_LENGTH = 63
"""Most characters of an id: those of a Kubernetes label (RFC 1035), and of a Batch job's own id (36) with room."""

ALLOWED = f"1 to {MAX_LENGTH} lower-case letters, digits and dashes, with a letter or digit first and last"

_ID = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def has_id_form(name: str) -> bool:
    """Return whether a name has the form."""
    return len(name) <= MAX_LENGTH and _ID.fullmatch(name) is not None
