"""The accounting database's password on the node that runs slurmdbd, which must follow the secret's rotation."""

from __future__ import annotations

import pkgutil

from .configuration import Accounting
from .node import Node, StepError
from .timer import ensure_timer

_PROGRAM = "accounting_password.py"
INSTALLED = "/usr/local/sbin/trainforge-accounting-password"
_UNIT = "trainforge-accounting-password"


def ensure_password_followed(node: Node, accounting: Accounting) -> None:
    """Install the program and its timer. slurmdbd opens a connection for each request: with the
    former password all of them fail.

    Raises:
        StepError: the node has no AWS CLI, or the timer cannot be started.
    """
    node.require("aws", "use an image that has the AWS CLI, as the images of HyperPod and ParallelCluster do")
    source = pkgutil.get_data(__package__ or "common", _PROGRAM)
    if source is None:
        raise StepError(f"the shipped files lack '{_PROGRAM}'", "report this: it is a bug")
    node.path(INSTALLED.rpartition("/")[0]).mkdir(parents=True, exist_ok=True)
    node.write_file(INSTALLED, source.decode(), 0o755)
    ensure_timer(
        node,
        _UNIT,
        description="Keep slurmdbd's password that of its secret",
        command=f"{INSTALLED} {accounting.secret} {accounting.region}",
    )
