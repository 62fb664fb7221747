"""Variables that users cannot set: those of launches and schedulers, and those that may hold a secret."""

from __future__ import annotations

import re

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""The form of a variable's name."""

_RESERVED = frozenset(
    (
        *("MASTER_ADDR", "MASTER_PORT", "PATH", "PYTHONPATH", "RANK0_HOST", "RUN_FOLDER"),
        *("STAGE_FOLDER", "TRAINFORGE_STAGE_AGAIN"),
        *("GROUP_RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK", "RANK", "WORLD_SIZE"),
        *("NNODES", "PROGRAM_FOLDER", "RANKS_PER_NODE"),
        *("JAX_COORDINATOR_ADDRESS", "JAX_LOCAL_DEVICE_IDS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"),
        *("ADDRESSES", "NODE", "TRAINFORGE_NODES_FOLDER", "TRAINFORGE_NODE_NAME"),
        *("CODE", "CODE_FOLDER", "PACKAGES_FOLDER"),
        *(
            "TRAINFORGE_PROFILE",
            "TRAINFORGE_PROFILE_STEPS",
            "TRAINFORGE_PROFILE_RANKS",
            "TRAINFORGE_PROFILE_EFA",
        ),
    )
)
"""Variables that scripts and launchers set themselves: another value would be lost, or keep ranks from connecting."""

_SCHEDULERS = ("AWS_BATCH_", "ECS_", "KUBERNETES_", "OMPI_COMM_WORLD_", "PMI_", "PMIX_", "SLURM_")
"""Prefixes of names that schedulers set; Batch takes none that begin with AWS_BATCH (botocore: batch, KeyValuePair)."""

_SECRET_LAST = frozenset({"KEY", "PASS", "PAT", "PWD", "TOKEN"})
_SECRET_WORDS = frozenset(
    {"APIKEY", "CREDENTIAL", "CREDENTIALS", "PASSPHRASE", "PASSWD", "PASSWORD", "SECRET", "SECRETS"}
)


def is_reserved(name: str) -> bool:
    """Return whether the launch itself sets a variable of this name."""
    return name in _RESERVED or name.startswith(_SCHEDULERS)


def looks_secret(name: str) -> bool:
    """Return whether the value of a variable of this name may be a secret."""
    words = name.upper().split("_")
    return words[-1] in _SECRET_LAST or not _SECRET_WORDS.isdisjoint(words)
