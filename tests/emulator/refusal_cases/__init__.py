"""Templates that AWS refuses, each with its reason, and templates that it takes, by subject."""

from __future__ import annotations

from tests.emulator.refusal_cases import (
    compute,
    databases,
    eks,
    file_systems,
    identity,
    messages,
    network,
    roles,
)
from tests.emulator.refusal_cases.entry import Entry

_SUBJECTS = (compute, databases, eks, file_systems, identity, messages, network, roles)

REFUSED: dict[str, tuple[dict[str, Entry], str]] = {
    name: case for subject in _SUBJECTS for name, case in subject.REFUSED.items()
}
TAKEN: dict[str, dict[str, Entry]] = {
    name: case for subject in _SUBJECTS for name, case in subject.TAKEN.items()
}
