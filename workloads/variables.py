"""Variables that a person gives a run when it is launched: NAME=VALUE, in the environment of every rank."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from catalog.finding import Finding, Severity
from workloads.launchers import RUN_ID
from workloads.progress import PROGRESS_VARIABLES
from workloads.reserved_variables import VARIABLE, is_reserved, looks_secret
from workloads.spec import Workload


def read_variables(words: Sequence[str]) -> dict[str, str]:
    """Return variables by name from words NAME=VALUE; those without an equals sign are left out."""
    return {name: value for name, equals, value in (word.partition("=") for word in words) if equals}


def check_variables(words: Sequence[str], workload: Workload | None) -> Iterator[Finding]:
    """Yield what is wrong with variables; a value that may be a secret is never shown."""
    seen: set[str] = set()
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not VARIABLE.fullmatch(name):
            yield _error(
                name,
                f"'{name}' is no variable with a value",
                "NAME=VALUE, with a name of letters, digits and underscores that begins with no digit",
            )
        elif name in seen:
            yield _error(name, f"the variable '{name}' is given twice", "give it once")
        elif _is_secret(name, workload):
            yield _error(
                name,
                f"'{name}' looks like a secret, and a variable's value is in the job for all who may read it",
                _way_of_secrets(name, workload),
            )
        elif name == RUN_ID:
            yield _error(name, f"'{name}' names the run", "give --run-id")
        elif is_reserved(name) or _is_asset(name, workload):
            yield _error(name, f"'{name}' is set by the launch itself", "leave it out")
        elif name in PROGRESS_VARIABLES and not (value.isascii() and value.isdecimal() and int(value)):
            yield _error(name, f"the value of '{name}' is '{value}'", "a whole number of seconds from 1")
        elif not value.isprintable():
            yield _error(
                name, f"the value of '{name}' has line breaks or other control characters", "one line"
            )
        seen.add(name)


def _is_secret(name: str, workload: Workload | None) -> bool:
    named = workload is not None and name in {secret.variable for secret in workload.secrets}
    return named or looks_secret(name)


def _is_asset(name: str, workload: Workload | None) -> bool:
    return workload is not None and name in {asset.variable for asset in workload.assets}


def _way_of_secrets(name: str, workload: Workload | None) -> str:
    """Return how a program gets a secret by this name, if it is one of the workload's."""
    purpose = next(
        (secret.name for secret in (workload.secrets if workload else ()) if secret.variable == name), ""
    )
    if not purpose:
        return (
            "a workload names its secrets ('secrets' in its workload.py), and the cluster brings their values"
        )
    return (
        f"it is the secret '{purpose}': on Batch 'secrets: {{{purpose}: ARN}}' in the configuration, on Kubernetes a "
        f"Secret, on Slurm a file that only you read; 'trainforge render' shows where"
    )


def _error(name: str, message: str, hint: str) -> Finding:
    return Finding("run-env", Severity.ERROR, "env", name, message, hint)
