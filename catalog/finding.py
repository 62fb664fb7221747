"""A finding: a mistake, or a possible one, in a configuration or a request."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """The severity of a finding: an error stops synthesis, a warning is shown."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake or doubt, with everything that a user needs to correct it.

    `rule` is the stable name by which it can be acknowledged, `path` where the value is in the
    configuration (`pools.gpu.instance_type`), `value` the value there as the user wrote it, `message`
    what is wrong and what is allowed, `hint` the next step. Messages are lower case without a final
    period.
    """

    rule: str
    severity: Severity
    path: str
    value: str
    message: str
    hint: str = ""

    @property
    def is_error(self) -> bool:
        """True if it stops synthesis."""
        return self.severity is Severity.ERROR

    def __str__(self) -> str:
        """Render as one line: severity, place, rule, message, next step."""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.severity}: {self.path or 'configuration'}: {self.message}{hint} [{self.rule}]"
