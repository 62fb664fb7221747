"""The id of a run: it names its folder and its job, and a new job resumes the run by it."""

from __future__ import annotations

from collections.abc import Iterator

from catalog.cluster_kinds import KUBERNETES
from catalog.finding import Finding, Severity
from workloads.formats import formats_of
from workloads.id_form import ALLOWED, has_id_form
from workloads.spec import Format, Run

MAX_KUBERNETES_NAME = 45
"""The maximum length of a job's name on Kubernetes.

JobSet, which Trainer makes of a TrainJob, refuses a name whose longest pod NAME-node-0-INDEX-abcde has over 63
(jobset_webhook.go since 0.4); 18 are left to what follows the name, for an index of four digits. The other
operators add less.
"""

_MAX_LABEL = 63
_AFTER_A_STAGE = len("--0-9999-abcde")
"""The characters of a pod's name in a JobSet besides the names of the set and of the stage, as above."""

MAX_MPIJOB_NAME = 40
"""The maximum length of an MPIJob's name: its launcher's host is called NAME-launcher, and Open MPI 4.1 has 49
characters for a host's name up to its first digit (runtime/mpi_hosts.py)."""

_ON_KUBERNETES = formats_of(KUBERNETES)


def check_run_id(run_id: str) -> Iterator[Finding]:
    """Yield what is wrong with an id on any cluster: it is a folder's name and a part of the job's."""
    if not has_id_form(run_id):
        yield _error(run_id, f"'{run_id}' cannot be the id of a run", ALLOWED)


def check_job_name(run: Run, format_: Format) -> Iterator[Finding]:
    """Yield what is wrong with the name of a run's job where an operator makes longer ones of it."""
    longest = _longest(run, format_)
    excess = len(run.name) - longest
    if excess <= 0 or format_ not in _ON_KUBERNETES:
        return
    most = len(run.id) - excess
    if run.id or run.stage_name or format_ is Format.JOBSET:
        yield _error(
            run.id or run.stage_name or run.preset.name,
            f"the job would be called '{run.name}', {len(run.name)} characters, and operators make longer names "
            f"of it: as {format_} it may have {longest}",
            f"with this preset an id may have {most}"
            if most > 0
            else "call the stage or the preset by a shorter name",
        )


def _longest(run: Run, format_: Format) -> int:
    """Return the most characters of a run's name in a format of Kubernetes."""
    if format_ is Format.MPIJOB:
        return MAX_MPIJOB_NAME
    if format_ is Format.JOBSET:
        names = [run.stage_name] if run.stage_name else run.dependencies
        return _MAX_LABEL - _AFTER_A_STAGE - max(map(len, names))
    return MAX_KUBERNETES_NAME


def _error(value: str, message: str, hint: str) -> Finding:
    return Finding("run-id", Severity.ERROR, "run-id", value, message, hint)
