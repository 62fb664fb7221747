"""Refusals of AWS that neither CloudFormation's schema nor moto has, by resource type.

The judges are documented limits, botocore's models and what the emulated services hold; the application's own rules are
not asked, so that a mistake in them shows. Importing this package registers them all.
"""

from emulator.refusals import compute, databases, eks, file_systems, identity, messages, network, roles
from emulator.refusals.refusal import refused

__all__ = [
    "compute",
    "databases",
    "eks",
    "file_systems",
    "identity",
    "messages",
    "network",
    "refused",
    "roles",
]
