"""The configuration file: named on the command line, by an environment variable, or the default."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from catalog.finding import Finding, Severity
from settings.parser.values import printable, shown

VARIABLE = "TRAINFORGE_CONFIG"
"""The environment variable that names a configuration for every command and for `cdk`; an empty one counts as unset."""

DEFAULT = Path("config/default.yaml")


@dataclass(frozen=True, slots=True)
class ConfigurationFile:
    """A configuration file and the option or variable that named it: `origin`, as text for messages."""

    path: Path
    origin: str
    is_default: bool = False

    def __str__(self) -> str:
        """Return the file and its origin, as text."""
        return f"{printable(str(self.path))} ({self.origin})"


def configuration_file(given: str | Path | None, option: str) -> ConfigurationFile:
    """Return the file that is used; `option` is what names one on the command line (`-c FILE`)."""
    if given:
        return ConfigurationFile(Path(given), f"by {option}")
    named = os.environ.get(VARIABLE)
    if named:
        return ConfigurationFile(Path(named), f"by {VARIABLE}")
    # Usually a script whose own variable was not set: the message must not look as if the user chose the default.
    why = "the default" if named is None else f"the default, since {VARIABLE} is empty"
    return ConfigurationFile(DEFAULT, f"{why}; {option} or {VARIABLE} names another", is_default=True)


def missing_default() -> Finding:
    """Return the finding for a folder that has no default configuration: usually not the folder of the repository."""
    return Finding(
        "file-missing",
        Severity.ERROR,
        "",
        str(DEFAULT),
        f"no configuration is named, and '{shown(str(Path.cwd()))}' has no '{DEFAULT}'",
        f"name one with '-c FILE' or {VARIABLE}, or run the command in trainforge's folder",
    )
