#!/usr/bin/env python3
"""Keeps slurmdbd's password that of its secret: `accounting_password.py SECRET REGION`, run by a timer.

Standard library only, and nothing of ours beside it: it is installed by itself on the node that runs slurmdbd. The
password is never an argument of a program, and never printed. Prints a line when it changed something.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

# ParallelCluster writes the first and includes it in the second; the others are where Slurm looks for it.
FILES = (
    "/opt/slurm/etc/slurm_parallelcluster_slurmdbd.conf",
    "/opt/slurm/etc/slurmdbd.conf",
    "/etc/slurm/slurmdbd.conf",
)
SETTING = "StoragePass="
SERVICE = "slurmdbd.service"


class FollowError(Exception):
    """The password cannot be updated; the text is the reason, without a secret."""


def secret_password(secret: str, region: str) -> str:
    """Return the password of the secret, which holds it alone or as JSON with a user name."""
    command = ["aws", "secretsmanager", "get-secret-value", "--output", "json"]
    try:
        result = subprocess.run(  # noqa: S603 a list, never a shell
            [*command, "--secret-id", secret, "--region", region],
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FollowError(f"'aws' cannot be run: {type(error).__name__}") from error
    if result.returncode != 0:
        raise FollowError(f"secret '{secret}' cannot be read: {result.stderr.strip()}")
    text: str = json.loads(result.stdout)["SecretString"]
    password = json.loads(text)["password"] if text.startswith("{") else text
    # A line of slurmdbd.conf: anything else could end it and begin another setting.
    if not isinstance(password, str) or not password.isalnum():
        raise FollowError(f"secret '{secret}' holds no password of letters and digits alone")
    return password


def follow(path: Path, password: str) -> bool:
    """Put the password into a file that has one; return whether that changed it. Owner and mode stay."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return False
    changed = [f"{SETTING}{password}\n" if line.startswith(SETTING) else line for line in lines]
    if changed == lines:
        return False
    status = path.stat()
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.writelines(changed)
            stream.flush()
            os.fsync(stream.fileno())
        os.chown(name, status.st_uid, status.st_gid)
        os.chmod(name, status.st_mode & 0o7777)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    return True


def main(arguments: list[str]) -> int:
    """Update the password from the secret; return 1 and print the reason if that fails."""
    secret, region = arguments
    root = Path(os.environ.get("ROOT", "/"))
    files = [root / name.lstrip("/") for name in FILES]
    try:
        if not any(path.exists() for path in files):
            sys.stdout.write("no configuration of slurmdbd is here yet\n")
            return 0
        password = secret_password(secret, region)
        written = [str(path) for path in files if follow(path, password)]
    except (FollowError, OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"failed: {error}\n")
        return 1
    if not written:
        return 0
    result = subprocess.run(["systemctl", "restart", SERVICE], check=False, timeout=300)  # noqa: S603, S607
    sys.stdout.write(f"changed: password in {', '.join(written)}; {SERVICE} restarted\n")
    return 1 if result.returncode else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
