"""The configuration of a workspace's alert manager: which alerts go to which topic, and how often."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import yaml

from catalog.observability import REPEAT_HOURS, SEVERITIES, Severity

_DEFAULT: Severity = "warning"
_MAX_WIDTH = 10**6
"""Longer than any line: a token of the CDK that is broken in two is no token."""


def alert_manager_definition(topics: Mapping[Severity, str], *, deployment: str, region: str) -> str:
    """Return the definition as text: a receiver for each severity's topic, by ARN.

    An alert without a known severity is a warning. Alerts of one name and cluster are one message. The form is that of
    the Amazon Managed Prometheus guide ("Create an alert manager configuration", "Configure alert manager to send
    messages to your Amazon SNS topic"): the alert manager's own configuration is a text in it, a subject of our own
    because the default one may be too long for SNS, and SigV4 names a region.
    """
    receivers = [
        {
            "name": severity,
            "sns_configs": [
                {
                    "topic_arn": topics[severity],
                    "sigv4": {"region": region},
                    "subject": f"trainforge {deployment}: {severity}",
                    "send_resolved": True,
                    "attributes": {"severity": severity},
                }
            ],
        }
        for severity in SEVERITIES
    ]
    configuration: dict[str, Any] = {
        "route": {
            "receiver": _DEFAULT,
            "group_by": ["alertname", "cluster"],
            "group_wait": "30s",
            "group_interval": "5m",
            "repeat_interval": f"{REPEAT_HOURS[_DEFAULT]}h",
            "routes": [
                {
                    "matchers": [f'severity="{severity}"'],
                    "receiver": severity,
                    "repeat_interval": f"{REPEAT_HOURS[severity]}h",
                }
                for severity in SEVERITIES
            ],
        },
        # An alert that is critical tells as much as the warning on the same fault at the same place. A label that both
        # lack is equal, so that only alerts with a fault are matched.
        "inhibit_rules": [
            {
                "source_matchers": ['severity="critical"', 'fault!=""'],
                "target_matchers": ['severity="warning"', 'fault!=""'],
                "equal": ["fault", "cluster", "node", "gpu", "device"],
            }
        ],
        "receivers": receivers,
    }
    text = yaml.safe_dump(configuration, sort_keys=False, width=_MAX_WIDTH)
    return "alertmanager_config: |\n" + textwrap.indent(text, "  ")
