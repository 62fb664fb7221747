"""A loaded configuration file: its settings, and every mistake of form and rules at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from catalog.finding import Finding
from settings.acknowledgements import accepted
from settings.configuration_file import ConfigurationFile, missing_default
from settings.deployed import Deployed
from settings.deployment import Settings
from settings.parser.document import Document, load
from settings.parser.parsed_settings import ParsedSettings, parse
from settings.report import LocatedFinding
from settings.rules import RULES, check


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """The result of reading a configuration file.

    `settings` is None if the file's form is broken, so that nobody uses half a
    configuration; with findings of rules it is given, and must not be used if one is an error. `findings`
    are sorted by their place in the file and have no duplicates.
    """

    settings: Settings | None
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """True if the configuration can be used: it has warnings at most."""
        return self.settings is not None and not any(finding.is_error for finding in self.findings)


def read(path: str | Path, deployed: Deployed | None = None) -> LoadedConfig:
    """Read a configuration file. Never raises: every mistake, also of the file itself, is a finding.

    Mistakes of form and of rules are reported together: broken parts are left out, the rest is checked,
    and findings that follow only from a part left out are not reported. With a `deployed` state the effects of an
    update are findings too.
    """
    document = load(path)
    if document.data is None:
        return LoadedConfig(None, _sorted(document.findings, document))
    folder = Path(path).parent
    built = parse(document, Settings)
    if built.settings is not None:
        built = replace(built, settings=built.settings.placed(folder))
    findings = [*document.findings, *built.findings]
    if built.settings is not None:
        genuine = _genuine(check(built.settings, folder, deployed), built)
        left, faults = accepted(
            genuine,
            built.settings.acknowledge,
            complete=not built.pruned,
            compared=deployed is not None,
        )
        findings += [*left, *_genuine(faults, built)]
    whole = built.settings is not None and not document.findings and not built.pruned
    return LoadedConfig(built.settings if whole else None, _sorted(findings, document))


def read_file(file: ConfigurationFile, deployed: Deployed | None = None) -> LoadedConfig:
    """Read the configuration file of a command, as `read` does; a folder without the default file is a finding."""
    if file.is_default and not file.path.exists():
        return LoadedConfig(None, (missing_default(),))
    return read(file.path, deployed)


def _genuine(findings: Iterable[Finding], built: ParsedSettings[Settings]) -> list[Finding]:
    """Return the findings that follow from the file, not from values that were left out of it."""
    result = []
    for finding in findings:
        where = built.written(finding.path)
        rule = RULES.get(finding.rule)
        paths = (path.format(value=finding.value) for path in (rule.depends_on if rule else ()))
        if not built.covers(where) and not any(built.touches(path) for path in paths):
            result.append(replace(finding, path=where))
    return result


def _sorted(findings: Iterable[Finding], document: Document) -> tuple[Finding, ...]:
    placed = {LocatedFinding.of(finding, _line(finding.path, document)) for finding in findings}
    return tuple(sorted(placed, key=_position))


def _position(finding: LocatedFinding) -> tuple[int, str, str, str]:
    return finding.line or 0, finding.path, finding.rule, finding.message


def _line(path: str, document: Document) -> int | None:
    """Return the line of a path, or of the nearest part above it that the file has."""
    parts = path.split(".") if path else []
    while parts:
        place = document.places.get(".".join(parts))
        if place is not None:
            return place.line
        parts.pop()
    return None
