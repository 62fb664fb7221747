"""Accounts with the same ids on every node, and who of them may become root."""

from __future__ import annotations

from pathlib import Path

from .authorized_keys import ensure_key
from .configuration import Configuration, User
from .home import ensure_home
from .mounts import mount_point, wait_for
from .node import Node, StepError, last_lines
from .steps import Step

# shadow's exit codes for a password or group file that another process has locked or could not be written.
_LOCKED = frozenset({1, 10})
_SHELL = "/bin/bash"


def user_steps(node: Node, configuration: Configuration) -> list[Step]:
    """Return a step for each person, which waits for the file system of the homes."""
    home_path = configuration.home_path

    def ensured(user: User) -> Step:
        def ensure() -> None:
            wait_for(node, home_path, configuration.mounts)
            if mount_point(node, home_path) == "/":
                node.log(f"'{home_path}' is on the root disk: homes are not shared between nodes")
            ensure_user(node, user, home_path)

        return f"user {user.name}", ensure

    return [ensured(user) for user in configuration.users]


def ensure_user(node: Node, user: User, home_path: str) -> None:
    """Set the account, its home, its key and its sudo rule to the configuration.

    Raises:
        StepError: the id or the name belongs to another account, or one of the parts failed.
    """
    home = f"{home_path.rstrip('/')}/{user.name}"
    _ensure_group(node, user)
    _ensure_account(node, user, home)
    ensure_home(node, user, home)
    if user.ssh_public_key is not None:
        ensure_key(node, user, home, user.ssh_public_key)
    _ensure_sudo(node, user)


def _ensure_group(node: Node, user: User) -> None:
    by_name, by_id = _entry(node, "group", user.name), _entry(node, "group", str(user.uid))
    _refuse_taken(user, "group", by_name, by_id)
    if by_name is None:
        _account_command(node, user, "groupadd", "--gid", str(user.uid))


def _ensure_account(node: Node, user: User, home: str) -> None:
    by_name, by_id = _entry(node, "passwd", user.name), _entry(node, "passwd", str(user.uid))
    _refuse_taken(user, "user", by_name, by_id)
    ids = ("--uid", str(user.uid), "--gid", str(user.uid))
    if by_name is None:
        options = ("--home-dir", home, "--no-create-home", "--shell", _SHELL)
        _account_command(node, user, "useradd", *ids, *options)
        return
    if by_name[3] != str(user.uid):
        raise StepError(
            f"user '{user.name}' has group id {by_name[3]} on this node, not {user.uid}",
            f"remove the account that was made by hand ('userdel {user.name}'), or choose another name",
        )
    if by_name[5] != home:
        _account_command(node, user, "usermod", "--home", home)


def _account_command(node: Node, user: User, program: str, *options: str) -> None:
    node.retry(
        lambda: node.run(
            *(program, *node.prefix_options, *options, user.name),
            next_step=f"run '{program}' on the node by hand to see what is wrong, then run this again",
            retryable_codes=_LOCKED,
        )
    )
    node.changed(f"{program} '{user.name}' ({' '.join(options)})")


def _refuse_taken(user: User, kind: str, by_name: list[str] | None, by_id: list[str] | None) -> None:
    # Files on shared storage belong to the number, so an id that differs on one node is another person there.
    if by_id is not None and by_id[0] != user.name:
        raise StepError(
            f"{kind} id {user.uid} of '{user.name}' is taken by '{by_id[0]}' on this node",
            f"choose another uid for '{user.name}', free on every node",
        )
    if by_name is not None and by_name[2] != str(user.uid):
        raise StepError(
            f"{kind} '{user.name}' has id {by_name[2]} on this node, not {user.uid}",
            f"set uid {by_name[2]} for '{user.name}', or choose another name",
        )


def _entry(node: Node, database: str, key: str) -> list[str] | None:
    """Return the fields of the entry that a name or id has, or None; a directory service is asked too."""
    result = node.query("getent", database, key)
    if result.returncode == 2:
        return None
    if result.returncode != 0:
        reason = f"command 'getent {database} {key}' exited {result.returncode}: {last_lines(result)}"
        raise StepError(reason, "check /etc/nsswitch.conf and the directory service it names")
    return result.stdout.splitlines()[0].split(":")


def _ensure_sudo(node: Node, user: User) -> None:
    absolute = f"/etc/sudoers.d/trainforge-{user.name}"
    if not user.sudo:
        if node.path(absolute).exists():
            node.path(absolute).unlink()
            node.changed(f"file '{absolute}' removed: sudo is false")
        return
    node.require("visudo", "install the package sudo, or set sudo to false")
    # Without a password, for the account has none: people come in by key or by Session Manager.
    text = f"# Written by trainforge's node set-up.\n{user.name} ALL=(ALL:ALL) NOPASSWD: ALL\n"
    node.write_file(absolute, text, 0o440, check=lambda path: _check_sudoers(node, path))


def _check_sudoers(node: Node, path: Path) -> None:
    # One file with a mistake in sudoers.d takes sudo from everyone.
    result = node.query("visudo", "-cf", str(path))
    if result.returncode != 0:
        raise StepError(
            f"command 'visudo -cf' exited {result.returncode}, rule not put in place: {last_lines(result)}",
            "check that this node's sudo reads the rule in the log, then run the node set-up again",
        )
