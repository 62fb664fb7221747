"""A program that a node runs every five minutes, as units of systemd."""

from __future__ import annotations

from .node import Node

UNITS = "/etc/systemd/system"

_SERVICE = """\
# Written by trainforge.
[Unit]
Description={description}
After=network-online.target
Wants=network-online.target

[Service]
Type=oneshot
ExecStart={command}
"""
_TIMER = """\
# Written by trainforge.
[Unit]
Description={description}, every five minutes

[Timer]
OnBootSec=5min
OnUnitInactiveSec=5min

[Install]
WantedBy=timers.target
"""


def ensure_timer(node: Node, unit: str, *, description: str, command: str) -> None:
    """Have `command` run every five minutes from now on and after each boot.

    Raises:
        StepError: the timer cannot be started.
    """
    before = node.changes
    node.path(UNITS).mkdir(parents=True, exist_ok=True)
    service = _SERVICE.format(description=description, command=command)
    node.write_file(f"{UNITS}/{unit}.service", service, 0o644)
    node.write_file(f"{UNITS}/{unit}.timer", _TIMER.format(description=description), 0o644)
    if node.changes != before:
        next_step = f"see 'systemctl status {unit}.timer' on the node"
        node.run("systemctl", "daemon-reload", next_step=next_step)
        node.run("systemctl", "enable", "--now", f"{unit}.timer", next_step=next_step)
