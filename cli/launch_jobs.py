"""The jobs of a launch: those of the stages that come first, and the run's own, which waits for them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from cli.mistakes import fail
from workloads.stage import TRAIN

if TYPE_CHECKING:
    from cli.own_code import Shipment
    from cli.submit.submission import Submission, SubmittedJob
    from settings.configuration_file import ConfigurationFile
    from workloads.spec import Format, Run


@dataclass(frozen=True, slots=True)
class LaunchJob:
    """A job that is about to be submitted: a run, its manifest, how it goes, and the stages that it waits for.

    `within` are the runs of stages that come first in the same job.
    """

    run: Run
    format: Format
    text: str
    sending: Submission
    after: Sequence[str] = ()
    within: Sequence[Run] = ()

    @property
    def name(self) -> str:
        """The name of its stage; of the run itself the last one's."""
        return self.run.stage_name or TRAIN

    def show(self, file: ConfigurationFile | None, shipment: Shipment | None) -> None:
        """Print where it goes, how, and the manifest."""
        from workloads.render.all import file_name
        from workloads.words import literal

        run, sending = self.run, self.sending
        machines = "1, this one" if sending.here else f"{run.nodes} x {run.instance_type}"
        stage = f", stage {run.stage_name}" if run.stage_name else ""
        typer.echo(f"launch {run.workload.name}, preset {run.preset.name}{stage}")
        if file:
            typer.echo(f"  config {file}")
        typer.echo(f"  where  {sending.where}")
        typer.echo(f"  nodes  {machines}; {run.ranks} rank{'s' if run.ranks > 1 else ''}")
        if run.extra_arguments:
            typer.echo(f"  args   {' '.join(map(literal, run.extra_arguments))}")
        if shipment:
            typer.echo(f"  code   {shipment}")
        typer.echo(f"  run    {sending.run}")
        for each in self.within:
            typer.echo(
                f"  stage  {each.stage_name}, {each.nodes} x {each.instance_type}, before it in the same job"
            )
        if self.after:
            typer.echo(f"  after  {', '.join(self.after)}, each ended well")
        typer.echo(f"  how    {sending.call}")
        typer.echo(f"  what   {file_name(run, self.format)}, a manifest for {self.format}:")
        typer.echo("")
        for line in (sending.text or self.text).rstrip("\n").split("\n"):
            typer.echo(f"    {line}" if line else "")
        typer.echo("")


def submit(jobs: Sequence[LaunchJob], shipment: Shipment | None, *, wait: bool) -> None:
    """Ship code and submit jobs in their order, print how to follow and resume each, and wait for them if asked to.

    A job that runs here ends before the next one is started. The first that fails ends this command with its exit code.
    """
    from cli.submit.submission import SubmissionError

    sent: dict[str, SubmittedJob] = {}
    try:
        if shipment:
            shipment.send()
        for job in jobs:
            one = job.sending.send([sent[name].job for name in job.after if name in sent])
            sent[job.name] = one
            _tell(one, last=job is jobs[-1])
            if job.sending.here:
                _wait(job, one, alone=len(jobs) == 1)
        if wait:
            for job in jobs:
                if not job.sending.here:
                    _wait(job, sent[job.name], alone=len(jobs) == 1)
    except SubmissionError as error:
        before = "".join(f"\n  {one.cancel}" for one in sent.values() if one.cancel and len(sent) < len(jobs))
        stay = f"; what was submitted before it stays, and ends by{before}" if before else ""
        fail(f"{error}{stay}")
    except KeyboardInterrupt:
        ends = "".join(f"\n  {one.cancel}" for one in sent.values() if one.cancel)
        cancel = f"; end it with{ends}" if ends else ""
        typer.echo(f"stopped waiting; the job is still running{cancel}", err=True)
        raise typer.Exit(130) from None


def _wait(job: LaunchJob, sent: SubmittedJob, *, alone: bool) -> None:
    """Wait for a job's end; one that failed ends the command, and nothing that waits for it is started."""
    code = sent.wait()
    which = "the job" if alone else f"the job of '{job.name}'"
    if not job.sending.here:
        typer.echo(f"{which} ended with exit code {code}")
    elif code and not alone and job.name != TRAIN:
        typer.echo(
            f"stage '{job.name}' ended with exit code {code}: what waits for it is not started", err=True
        )
    if code:
        raise typer.Exit(code)


def _tell(sent: SubmittedJob, *, last: bool) -> None:
    if sent.said:
        typer.echo(sent.said)
    if sent.follow:
        typer.echo("follow it with")
        for line in sent.follow:
            typer.echo(f"  {line}")
    if sent.said and sent.again and last:
        typer.echo("if it stops, a new job resumes it: the same command with")
        typer.echo(f"  --run-id {shlex.quote(sent.again)}")
    sys.stdout.flush()
