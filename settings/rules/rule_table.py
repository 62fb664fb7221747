"""The table of rules with name, severity and reason: those on the file's form, and those on its content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from catalog.finding import Severity
from settings.rules import RULES

FILE_RULES: Mapping[str, str] = MappingProxyType(
    {
        "file-missing": "There is no file of that name.",
        "file-unreadable": "The file is a folder, or the system refuses to read it.",
        "file-too-large": "No configuration is larger than 1 MiB; reading more would only take time.",
        "not-utf-8": "YAML is text, and the text of a configuration is UTF-8.",
        "not-yaml": "The text does not follow YAML's grammar.",
        "deployed-unreadable": "Without the deployed state the effects of a deployment are unknown.",
        "empty-file": "A deployment needs a name, a region and zones at least.",
        "not-a-mapping": "A configuration is keys with values.",
        "too-deep": "Settings nest six levels deep; a parser can be driven out of memory by nesting.",
        "too-many-values": "A few lines of aliases can expand to billions of values.",
        "alias-loop": "A value cannot contain itself.",
        "bad-key": "A key is text.",
        "bad-merge": "Only a mapping can be merged into a mapping.",
        "bad-value": "The value does not have the form of its type.",
        "duplicate-key": "YAML would silently take the last of two values.",
        "tag-refused": "Tags can make a YAML reader run code; settings need none.",
        "unknown-key": "A misspelt key would silently leave the default in place.",
        "missing-key": "The key has no default.",
        "wrong-type": "YAML has types of its own, and guessing would hide mistakes.",
        "out-of-range": "The service has limits.",
        "not-allowed": "The setting has a fixed list of values.",
        "bad-cidr": "An address range begins at its first address.",
        "capacity-source": "An id alone does not tell which kind of capacity it is.",
        "acknowledgement-unknown": "An acknowledgement of a misspelt rule accepts nothing.",
        "acknowledgement-refused": "The finding of that rule is a configuration that cannot work.",
    }
)
"""Errors about the file, its shape and its acknowledgements, with the reason; none can be acknowledged."""

UNUSED_ACKNOWLEDGEMENT = "acknowledgement-unused"


@dataclass(frozen=True, slots=True)
class RuleEntry:
    """A row of the table of rules."""

    name: str
    severity: str
    acknowledgeable: bool
    reason: str


def rule_table() -> tuple[RuleEntry, ...]:
    """Return every rule: those on the file's form first, then those on its content."""
    on_file = [RuleEntry(name, Severity.ERROR.value, False, reason) for name, reason in FILE_RULES.items()]
    unused = RuleEntry(
        UNUSED_ACKNOWLEDGEMENT,
        Severity.WARNING.value,
        False,
        "The finding no longer occurs; the acknowledgement would hide it if it came back.",
    )
    checks = [
        RuleEntry(rule.name, rule.severity.value, rule.acknowledgeable, rule.reason)
        for rule in RULES.values()
    ]
    return (*on_file, unused, *checks)
