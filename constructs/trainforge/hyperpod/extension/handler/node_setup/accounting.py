"""The accounting database's password on the node that runs slurmdbd, which must follow the secret's rotation."""

from __future__ import annotations

import pkgutil

from .configuration import Accounting
from .node import Node, StepError

_PROGRAM = "accounting_password.py"
INSTALLED = "/usr/local/sbin/trainforge-accounting-password"
_UNIT = "trainforge-accounting-password"
_UNITS = "/etc/systemd/system"

_SERVICE = """\
# Written by trainforge.
[Unit]
Description=Keep slurmdbd's password that of its secret
After=network-online.target
Wants=network-online.target

[Service]
Type=oneshot
ExecStart={program} {secret} {region}
"""
_TIMER = """\
# Written by trainforge.
[Unit]
Description=Keep slurmdbd's password that of its secret, again and again

[Timer]
OnBootSec=5min
OnUnitInactiveSec=5min

[Install]
WantedBy=timers.target
"""


def ensure_password_followed(node: Node, accounting: Accounting) -> None:
    """Install the program and its timer. slurmdbd makes a connection for each that asks it for accounts: with the
    former password none comes about.

    Raises:
        StepError: the node has no AWS CLI, or the timer cannot be started.
    """
    node.require("aws", "use an image that has the AWS CLI, as the images of HyperPod and ParallelCluster do")
    source = pkgutil.get_data(__package__ or "node_setup", _PROGRAM)
    if source is None:
        raise StepError(f"'{_PROGRAM}' is not among what was shipped", "report this: it is a bug")
    before = node.changes
    for folder in (INSTALLED.rpartition("/")[0], _UNITS):
        node.path(folder).mkdir(parents=True, exist_ok=True)
    node.write_file(INSTALLED, source.decode(), 0o755)
    service = _SERVICE.format(program=INSTALLED, secret=accounting.secret, region=accounting.region)
    node.write_file(f"{_UNITS}/{_UNIT}.service", service, 0o644)
    node.write_file(f"{_UNITS}/{_UNIT}.timer", _TIMER, 0o644)
    if node.changes != before:
        next_step = f"see 'systemctl status {_UNIT}.timer' on the node"
        node.run("systemctl", "daemon-reload", next_step=next_step)
        node.run("systemctl", "enable", "--now", f"{_UNIT}.timer", next_step=next_step)
