"""Users of the directory: their homes, and their entries in Slurm's accounts if Slurm requires them.

Run by a timer too (`python3 -m common.people --home-path PATH ...`), so that people who join the directory later
are served within minutes. A home cannot wait for the first login: Session Manager starts its shell without PAM
(amazon-ssm-agent, agent/session/shell/shell_unix.go), and so without pam_mkhomedir.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from .configuration import LOGIN_NAME, UIDS, User
from .home import ensure_home
from .mounts import wait_for
from .node import Node, StepError, last_lines
from .timer import ensure_timer

EVERYONE = "everyone"
"""The group of all people that every directory has (the server's own program puts it there), and an account."""
_UNIT = "trainforge-people"
_INSTALLED = "/opt/trainforge/people"
_PACKAGE = Path(__file__).parent


def ensure_people(
    node: Node, home_path: str, mounts: tuple[str, ...] | None, *, local: Sequence[str], slurm: bool
) -> None:
    """Serve the people of today, and install the timer for those of tomorrow.

    `local` are accounts of the node itself that submit jobs, `slurm` is true on the node that registers
    users in Slurm's accounts.

    Who cannot be served now is a warning: a node must not fail for one person's home, and the timer tries again.

    Raises:
        StepError: the file system of the homes is not there, or the timer cannot be started.
    """
    wait_for(node, home_path, mounts)
    # A copy of its own: what downloaded this program may remove it or overwrite it.
    package = f"{_INSTALLED}/{_PACKAGE.name}"
    node.ensure_directory(_INSTALLED, 0o755)
    node.ensure_directory(package, 0o755)
    for source in sorted(_PACKAGE.glob("*.py")):
        node.write_file(f"{package}/{source.name}", source.read_text(encoding="utf-8"), 0o644)
    options = ["--home-path", home_path, *(["--slurm", *local] if slurm else [])]
    command = ["/usr/bin/env", f"PYTHONPATH={_INSTALLED}", "PYTHONDONTWRITEBYTECODE=1", sys.executable]
    ensure_timer(
        node,
        _UNIT,
        description="Homes and Slurm accounts of the directory's people",
        command=" ".join([*command, "-m", f"{_PACKAGE.name}.{Path(__file__).stem}", *options]),
    )
    try:
        refresh_users(node, home_path, local=local, slurm=slurm)
    except StepError as error:
        node.log(f"WARNING: {error.reason}; next: {error.next_step}; the timer '{_UNIT}' tries again")


def refresh_users(node: Node, home_path: str, *, local: Sequence[str], slurm: bool) -> None:
    """Make missing homes of the directory's users, and register users whom Slurm would refuse.

    Raises:
        StepError: a home cannot be made, or Slurm refuses a person; the others were served.
    """
    people = list(_people(node))
    problems = []
    for person in people:
        try:
            ensure_home(node, person, f"{home_path.rstrip('/')}/{person.name}")
        except StepError as error:
            problems.append(error)
    if slurm:
        try:
            _register(node, [*local, *(person.name for person in people)])
        except StepError as error:
            problems.append(error)
    if problems:
        raise StepError("; ".join(error.reason for error in problems), problems[0].next_step)


def ensure_session_home(node: Node, name: str, home_path: str, mounts: tuple[str, ...] | None) -> None:
    """Make the home of the image's own account where a file system that is mounted over the homes hides it.

    Raises:
        StepError: the file system is not there, or the home cannot be made.
    """
    entry = _fields(node, "getent", "passwd", name)
    if entry is None or not entry[5].startswith(home_path.rstrip("/") + "/"):
        node.log(f"no account '{name}' with a home below '{home_path}': nothing to do")
        return
    wait_for(node, home_path, mounts)
    ensure_home(node, User(name, int(entry[2]), None, False), entry[5])


def _people(node: Node) -> Iterator[User]:
    """Yield the members of the directory's group of all users; none if there is no directory."""
    group = _fields(node, "getent", "-s", "sss", "group", EVERYONE)
    for name in sorted(filter(None, group[3].split(","))) if group else ():
        entry = _fields(node, "getent", "-s", "sss", "passwd", name)
        if entry is None:
            node.log(
                f"WARNING: '{name}' is in the group '{EVERYONE}' and the directory has no account of that name"
            )
        elif not LOGIN_NAME.fullmatch(name) or int(entry[2]) not in UIDS:
            node.log(f"WARNING: '{name}' with id {entry[2]} is not a person's account and was left alone")
        else:
            yield User(name, int(entry[2]), None, False)


def _register(node: Node, names: Sequence[str]) -> None:
    """Add users to Slurm's accounts if Slurm refuses jobs of users without one.

    Whoever has an association keeps it and gets no other: accounts are the administrators' own.
    """
    shown = node.query("scontrol", "show", "config")
    enforced = [line for line in shown.stdout.splitlines() if line.startswith("AccountingStorageEnforce")]
    if shown.returncode != 0 or not enforced:
        node.log(f"Slurm does not answer yet ({last_lines(shown)}): the timer checks accounts later")
        return
    words = enforced[0].partition("=")[2].lower().replace(",", " ").split()
    if not set(words) & {"associations", "limits", "qos", "safe", "wckeys", "all"}:
        node.log("Slurm takes jobs of people without an account: none is registered")
        return
    listed = node.query("sacctmgr", "--noheader", "--parsable2", "show", "associations", "format=user")
    if listed.returncode != 0:
        node.log(f"Slurm's accounts do not answer yet ({last_lines(listed)}): the timer tries again")
        return
    present = set(listed.stdout.split())
    missing = [name for name in dict.fromkeys(names) if name not in present]
    if not missing:
        return
    next_step = "run it on the controller to see Slurm's message"
    account = ("account", EVERYONE, "Description=everyone", "Organization=everyone")
    known = node.query("sacctmgr", "--noheader", "--parsable2", "show", "account", EVERYONE, "format=account")
    if EVERYONE not in known.stdout.split():
        node.run("sacctmgr", "--immediate", "add", *account, next_step=next_step)
    for name in missing:
        node.run("sacctmgr", "--immediate", "add", "user", name, f"Account={EVERYONE}", next_step=next_step)
        node.changed(f"'{name}' registered with Slurm's account '{EVERYONE}'")


def _fields(node: Node, *command: str) -> list[str] | None:
    """Return the fields of the one entry that a `getent` prints, or None where it knows none."""
    result = node.query(*command)
    if result.returncode != 0 or not result.stdout.strip():
        return None
    return result.stdout.splitlines()[0].split(":")


def main(arguments: Sequence[str]) -> int:
    """Run once; return 1 and print the reason if a user could not be served."""
    parser = argparse.ArgumentParser(
        prog="people", description="homes and Slurm accounts of a directory's people"
    )
    parser.add_argument("--home-path", required=True)
    parser.add_argument(
        "--slurm", nargs="*", default=None, metavar="NAME", help="register these and the people"
    )
    parser.add_argument("--root", type=Path, default=Path("/"), help="a folder in place of /, for tests")
    options = parser.parse_args(arguments)
    # systemd's PATH lacks the folder of Slurm's programs.
    os.environ["PATH"] = f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin:/opt/slurm/bin"
    node = Node(root=options.root, step="people")
    try:
        refresh_users(node, options.home_path, local=options.slurm or (), slurm=options.slurm is not None)
    except StepError as error:
        sys.stderr.write(f"failed: {error.reason}; next: {error.next_step}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
