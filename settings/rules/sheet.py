"""Every rule's name, severity and reason: those on the file and its shape, and those on what it says."""

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
        "deployed-unreadable": "Without what is deployed nobody can say what a deployment would do to it.",
        "empty-file": "A deployment needs a name, a region and zones at least.",
        "not-a-mapping": "A configuration is keys with values.",
        "too-deep": "Settings nest six levels deep; a parser can be driven out of memory by nesting.",
        "too-many-values": "A few lines of aliases can expand to billions of values.",
        "alias-loop": "A value cannot contain itself.",
        "bad-key": "Keys are words.",
        "bad-merge": "What is merged into a mapping is a mapping.",
        "bad-value": "The value cannot be read as what it looks like.",
        "duplicate-key": "YAML would silently take the last of two values.",
        "tag-refused": "Tags can make a YAML reader run code; settings need none.",
        "unknown-key": "A misspelt key would silently leave the default in place.",
        "missing-key": "There is no good default for it.",
        "wrong-type": "YAML has types of its own, and a guess would be wrong one day.",
        "out-of-range": "The service takes no more, or no less.",
        "not-allowed": "The setting is a choice.",
        "bad-cidr": "An address range begins at its first address.",
        "capacity-source": "A bare id does not say how capacity is to be asked for.",
        "acknowledgement-unknown": "An acknowledgement of a misspelt rule accepts nothing.",
        "acknowledgement-refused": "What the rule finds does not work, whatever the reason given.",
    }
)
"""Errors about the file, its shape and its acknowledgements, with the reason; none can be acknowledged."""

UNUSED_ACKNOWLEDGEMENT = "acknowledgement-unused"


@dataclass(frozen=True, slots=True)
class RuleEntry:
    """One line of the table of rules."""

    name: str
    severity: str
    acknowledgeable: bool
    reason: str


def rule_sheet() -> tuple[RuleEntry, ...]:
    """Return every rule: on the file and its shape first, then on what it says."""
    on_file = [RuleEntry(name, Severity.ERROR.value, False, reason) for name, reason in FILE_RULES.items()]
    unused = RuleEntry(
        UNUSED_ACKNOWLEDGEMENT,
        Severity.WARNING.value,
        False,
        "What was accepted is mended: the acknowledgement would hide its return.",
    )
    checks = [
        RuleEntry(rule.name, rule.severity.value, rule.acknowledgeable, rule.reason)
        for rule in RULES.values()
    ]
    return (*on_file, unused, *checks)
