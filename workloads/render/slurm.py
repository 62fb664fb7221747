"""Slurm: a batch script for sbatch, in a container by enroot and pyxis or in a virtual environment."""

from __future__ import annotations

from collections.abc import Iterator

from catalog.cluster_info import ClusterInfo
from catalog.cluster_kinds import KINDS
from workloads import entry
from workloads.grace import grace_seconds
from workloads.launchers import RENDEZVOUS_PORT, RUN_ID, Needs, SchedulerVariables, Starts, command
from workloads.render.container_steps import step
from workloads.render.launcher_support import check_launcher
from workloads.render.runtime_programs import rank0_host
from workloads.restarts import FINAL_FILE, MAX_RESTARTS
from workloads.spec import Format, Run

LOG_FILE = "%x_%j.out"
"""Log file of a job, in sbatch's pattern: its name and number, in the folder it is submitted from."""

_STARTED_AGAIN = (
    "# Slurm starts a job again that lost a node; one that failed or made no progress is started again from "
    "here."
)
_HIGHEST_CODE = (
    "# srun's code is the highest of all nodes', which a node has that srun ended for another's failure."
)

_BESIDE_SECONDS = 10
"""Seconds that a container beside the program has to end after it: our choice."""


def slurm(run: Run, info: ClusterInfo, *, header: str = "") -> str:
    """Return the batch script. `header` is a comment for the second line.

    A node lost is handled by who can: HyperPod replaces it and resumes the step (`--auto-resume=1`), elsewhere
    Slurm requeues the whole job. Neither starts a job again whose rank crashed, or whose run the launch guard ended:
    the script requeues such a job itself. Either way the job keeps its id, so it finds its folder again. A workload
    that does not resume is not started a second time: it would start from the beginning, in a folder that has the first
    start's results.

    Raises:
        ValueError: Slurm cannot start the launcher, or the cluster has neither the image nor the programs.
    """
    check_launcher(run, Format.SLURM)
    return "\n".join(
        [
            "#!/bin/bash",
            *([f"# {header}"] if header else []),
            *_directives(run, info),
            "",
            "set -euo pipefail",
            *_addresses(run, info),
            *_registry(run, info),
            *_secrets(run, info),
            "",
            "# What each node does.",
            "read -r -d '' NODE <<'END_OF_NODE' || true",
            _node(run, info),
            "END_OF_NODE",
            "export NODE",
            *_containers(run, info),
            "",
            *_ended(run, info, list(_step(run, info))),
            "",
        ]
    )


def _directives(run: Run, info: ClusterInfo) -> Iterator[str]:
    per_node = run.ranks_per_node if _starts_ranks(run) else 1
    partition = info.partitions.get(run.pool.name, run.pool.name)
    options = {
        "job-name": run.name,
        **({"partition": partition} if partition else {}),
        "nodes": run.nodes,
        "ntasks-per-node": per_node,
        "exclusive": None,
        # A step of an exclusive job gets no GPUs that the job did not ask for by name (srun's manual).
        **({"gpus-per-node": run.accelerators_per_node} if run.kind == "gpu" else {}),
        # In the folder that it is submitted from: Slurm makes no folders, and a job without a log just dies.
        "output": LOG_FILE,
        "open-mode": "append",
        # Before the time limit, with the time that a save takes.
        "signal": f"{_warning(run)}@{grace_seconds(run, info)}",
        **_requeue(run, info),
        # Jobs of one name and user one after the other: two at once would write into one folder.
        **({"dependency": "singleton"} if run.id else {}),
    }
    for name, value in options.items():
        yield f"#SBATCH --{name}" + ("" if value is None else f"={value}")


def _requeue(run: Run, info: ClusterInfo) -> dict[str, None]:
    """Say whether Slurm may requeue the job; by default it may (JobRequeue in slurm.conf's manual)."""
    if not run.resumes:
        return {"no-requeue": None}
    return {"requeue": None} if KINDS[info.cluster].resumes == "requeue" else {}


def _variables(run: Run) -> SchedulerVariables:
    return SchedulerVariables(
        rank0_host="$RANK0_HOST",
        # Where srun starts each rank there is a guard a rank, and the one of rank 0 watches.
        node_rank="$SLURM_PROCID" if _starts_ranks(run) else "$SLURM_NODEID",
        # A requeued job keeps its number. A new one resumes another's run with that one's number as its id.
        run_id=run.id or f"${{{RUN_ID}:-$SLURM_JOB_ID}}",
        nodes="$SLURM_STEP_NUM_NODES",
        guards="$SLURM_STEP_NUM_TASKS" if _starts_ranks(run) else "",
        # In a container every user may be root.
        user="${SLURM_JOB_UID:-$UID}",
        # What a job before this one left on the node may still hold its port.
        port=f"$(({RENDEZVOUS_PORT} + SLURM_JOB_ID % 1000))",
    )


def _starts_ranks(run: Run) -> bool:
    """Return whether srun starts every rank, not one task per node."""
    return run.workload.launcher.starts is Starts.PER_RANK or _by_pmix(run)


def _by_pmix(run: Run) -> bool:
    """Return whether srun starts the ranks in the launcher's place, with PMIx for their rendezvous."""
    launcher = run.workload.launcher
    return launcher.starts is Starts.PER_JOB and launcher.by_pmix


def _warning(run: Run) -> str:
    """Return the signal before the time limit: USR1, or TERM for a launcher that would not forward USR1."""
    return "USR1" if "SIGUSR1" in run.workload.launcher.signals else "TERM"


def _addresses(run: Run, info: ClusterInfo) -> Iterator[str]:
    """Take the nodes' addresses along into a container, which has no scontrol; names need not resolve there."""
    if info.images.get(run.image_name) and _needs_address(run):
        yield ""
        yield "# Where the job's nodes are, for containers: they cannot ask Slurm."
        yield 'ADDRESSES="$(scontrol getaddrs "$SLURM_JOB_NODELIST")"'
        yield "export ADDRESSES"


def _registry(run: Run, info: ClusterInfo) -> Iterator[str]:
    """Let enroot log in to ECR: its credentials file may hold a command, so no password is written down.

    The form is that of enroot's documentation of `enroot import`. The home folder is shared by the nodes.
    """
    registry = info.images.get(run.image_name, "").partition("/")[0]
    if ".dkr.ecr." not in registry:
        return
    yield ""
    yield "# enroot asks ECR for a password when it imports the image."
    # Exported: enroot.conf of an image may name another folder, and enroot takes the job's before it.
    yield 'export ENROOT_CONFIG_PATH="${ENROOT_CONFIG_PATH:-$HOME/.config/enroot}"'
    yield 'CREDENTIALS="$ENROOT_CONFIG_PATH/.credentials"'
    yield 'mkdir -p "$(dirname "$CREDENTIALS")"'
    yield f"if ! grep -qs '^machine {registry} ' \"$CREDENTIALS\"; then"
    yield "  cat >> \"$CREDENTIALS\" <<'END_OF_CREDENTIALS'"
    yield f"machine {registry} login AWS password $(aws ecr get-login-password --region {info.region})"
    yield "END_OF_CREDENTIALS"
    yield "fi"


def _secrets(run: Run, info: ClusterInfo) -> Iterator[str]:
    """Read secrets from files that only their owner can read; the values are never in a script."""
    for secret in run.workload.secrets:
        source = f"$HOME/.trainforge/{info.secrets.get(secret.name, secret.name)}.env"
        yield ""
        yield f"# {secret.variable}=... in a file that only you can read (mode 600)."
        if secret.required:
            message = (
                f"{secret.variable} is needed: write {secret.variable}=VALUE to {source} and chmod 600 it"
            )
            yield f'[ -f "{source}" ] || {{ echo "{message}" >&2; exit 66; }}'
        yield "# shellcheck source=/dev/null"
        yield f'if [ -f "{source}" ]; then set -a; . "{source}"; set +a; fi'


def _node(run: Run, info: ClusterInfo) -> str:
    """Return what a task does: a node's ranks, or one rank where srun starts each."""
    if info.images.get(run.image_name):
        program, runtime = entry.folders(run)
        script = entry.entry(run, info, _variables(run), line=_line(run, program))
        return entry.unpacking(run) + _rank0(run, runtime) + script
    environment = "" if run.own_image else info.environment_of(run.workload.name)
    if not (environment and (info.launch_folder or run.code)):
        raise ValueError(
            f"cluster info of '{info.cluster}' has neither an image of {run.image_name} nor a virtual "
            "environment and its programs; name the workload under 'workloads:' in the configuration and deploy the "
            "cluster again"
        )
    program, runtime = entry.shipped_folders(run, info)
    script = entry.entry(
        run, info, _variables(run), program_folder=program, runtime_folder=runtime, line=_line(run, program)
    )
    return f'export PATH="{environment}/bin:$PATH"\n{entry.unpacking(run)}{_rank0(run, runtime)}{script}'


def _rank0(run: Run, runtime_folder: str) -> str:
    """Return the line that finds rank 0's node, for launchers that need it.

    In the step and not before it: one that HyperPod resumes has other nodes than the job began with.
    """
    return rank0_host("slurm", runtime_folder) if _needs_address(run) else ""


def _needs_address(run: Run) -> bool:
    """Return whether the launcher needs the address of rank 0's node."""
    return Needs.COORDINATOR in run.workload.launcher.needs


def _line(run: Run, folder: str) -> list[str] | None:
    """Return the words of a rank that srun starts by PMIx in the launcher's place; mpirun and ssh are not needed."""
    return entry.program(run, folder) if _by_pmix(run) else None


def _rank(run: Run) -> str:
    """Return the variables of a rank of its own, as srun numbers it."""
    launcher = run.workload.launcher
    numbers = {
        **dict.fromkeys(("RANK", *launcher.rank_variables), "$SLURM_PROCID"),
        **dict.fromkeys(("LOCAL_RANK", *launcher.local_rank_variables), "$SLURM_LOCALID"),
    }
    return " ".join(f'{name}="{value}"' for name, value in numbers.items())


def _step(run: Run, info: ClusterInfo) -> Iterator[str]:
    srun = ["srun", "--label", "--kill-on-bad-exit=1", *_container(run, info)]
    if KINDS[info.cluster].resumes == "hyperpod" and run.resumes:
        srun.append("--auto-resume=1")
    if _by_pmix(run):
        srun.append("--mpi=pmix")
    if run.workload.launcher.starts is Starts.PER_RANK:
        yield "# srun starts each rank and gives it its number and the others, in variables of its own."
        yield "# shellcheck disable=SC2016"
        yield f"{command(srun)} \\\n  bash -c '{_rank(run)} exec bash -c \"$NODE\"'"
    else:
        yield f'{command(srun)} \\\n  bash -c "$NODE"'


def _ended(run: Run, info: ClusterInfo, step: list[str]) -> Iterator[str]:
    """Return the step, the job's exit code, and what requeues the job after it failed, where the run resumes.

    srun's own exit code is the highest of all nodes', and one that srun ended because another failed has a higher one.
    So the job ends with what the launch guard knows to be final, a wrong argument or a missed criterion for example,
    and such a job is not tried again. A step that succeeded has the last word: HyperPod may have resumed it after the
    guard of a faulty node wrote the file.

    A job that is being cancelled, requeued or has run out of time is not RUNNING any more. SLURM_RESTART_COUNT counts
    what Slurm requeued, too. Where srun itself refused, an unknown option for example, there is no run folder, and the
    next start would fail like this one.
    """
    yield f'FINAL="{entry.run_folder(run, info, _variables(run))}/{FINAL_FILE}"'
    yield 'rm -f "$FINAL"'
    yield "code=0"
    yield from step[:-1]
    yield f"{step[-1]} || code=$?"
    yield ""
    yield _STARTED_AGAIN if run.resumes else _HIGHEST_CODE
    yield 'if [ "$code" -ne 0 ] && [ -f "$FINAL" ]; then'
    # Empty where the file system is full.
    yield '  final="$(<"$FINAL")"'
    yield '  code="${final:-$code}"'
    if run.resumes:
        yield from _requeued()
    yield "fi"
    yield 'exit "$code"'


def _requeued() -> Iterator[str]:
    yield f'elif [ "$code" -ne 0 ] && [ -d "${{FINAL%/*}}" ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {MAX_RESTARTS} ] &&'
    yield '  [ "$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T)" = RUNNING ]; then'
    again = f"exit code $code: requeued, restart $((${{SLURM_RESTART_COUNT:-0}} + 1)) of {MAX_RESTARTS}"
    yield f'  echo "{again}; Slurm waits about two minutes" >&2'
    yield '  scontrol requeue "$SLURM_JOB_ID" || true'


def _containers(run: Run, info: ClusterInfo) -> Iterator[str]:
    """Yield a step on every node for each container besides the program, in their order.

    A step beside the program shares its resources (--overlap, srun's manual), and ends with the job's script.
    """
    others = run.workload.containers
    if any(each.when == "beside" for each in others):
        yield ""
        yield "BESIDE=()"
        # Steps get SIGTERM, and the rest of their time to end: srun itself would kill them at once.
        yield "# shellcheck disable=SC2317,SC2329"
        yield "end_beside() {"
        yield '  scancel --signal=TERM "$SLURM_JOB_ID" || true'
        yield f'  {{ sleep {_BESIDE_SECONDS}; kill "${{BESIDE[@]}}"; }} 2>/dev/null &'
        yield '  wait "${BESIDE[@]}" || true'
        yield "}"
        yield "trap end_beside EXIT"
    for each in others:
        if each.image and run.workload.name not in info.images:
            raise ValueError(
                f"the container '{each.name}' of '{run.workload.name}' has an image of its own, and "
                f"'{info.cluster}' runs the workload without containers here; take a cluster that runs its image"
            )
        srun = [
            *("srun", "--label", "--nodes=$SLURM_JOB_NUM_NODES", "--ntasks=$SLURM_JOB_NUM_NODES"),
            *("--ntasks-per-node=1", *(["--overlap"] if each.when == "beside" else [])),
            *_container(run, info, each.image),
        ]
        yield ""
        yield f"# On every node, {each.when} the program: {each.name}."
        yield from step(each, run, info, srun)
        if each.when == "beside":
            yield "BESIDE+=($!)"


def _container(run: Run, info: ClusterInfo, own: str = "") -> list[str]:
    image = own or info.images.get(run.image_name)
    if not image:
        return []
    # enroot separates the registry from the path by a #.
    shared = info.shared_folder
    return [f"--container-image={image.replace('/', '#', 1)}", f"--container-mounts={shared}:{shared}"]
