"""The CDK context: keys of trainforge, keys of the CDK, and unknown keys, which are errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalog.spelling import did_you_mean
from settings.parser.values import shown

_CDK_JSON = Path(__file__).parent.parent / "cdk.json"

CONFIG = "config"
"""The only context key of ours: the configuration file."""

_CLI_CONTEXT = frozenset({"acknowledged-issue-numbers", "cli-telemetry"})
"""Keys that the CDK CLI keeps for itself (`cdk acknowledge`, `cdk cli-telemetry`)."""
_CDK_CONTEXT = ("@aws-cdk", "aws:", "aws-cdk:", "cdk-")
"""Prefixes of the CDK's own keys: feature flags, and values that the CLI passes to the app."""
_LOOKUP = ":account="
"""A part of each key under which the CDK CLI keeps what it looked up (`availability-zones:account=...`)."""


def cdk_context() -> dict[str, Any]:
    """Return the context of cdk.json, without which an app that is not started by the CDK CLI has no feature flags."""
    context: dict[str, Any] = json.loads(_CDK_JSON.read_text(encoding="utf-8"))["context"]
    return context


def context_mistakes(context: Mapping[str, Any]) -> list[str]:
    """Return the errors of the context: a misspelt 'config' would deploy, or destroy, the default."""
    mistakes = [
        f"error: context key '{shown(key)}' is not known"
        + did_you_mean(key.lower(), [CONFIG])
        + f"; '-c {CONFIG}=FILE' is the only one of trainforge. Context comes from -c, cdk.json, cdk.context.json and "
        "~/.cdk.json"
        for key in context
        if key != CONFIG and not _is_of_cdk(key)
    ]
    value = context.get(CONFIG)
    if CONFIG in context and not (isinstance(value, str) and value):
        mistakes.append(
            f"error: context key '{CONFIG}' is '{shown(value)}', not a file; write '-c {CONFIG}=config/NAME.yaml'"
        )
    return mistakes


def _is_of_cdk(key: str) -> bool:
    return key in _CLI_CONTEXT or key.startswith(_CDK_CONTEXT) or _LOOKUP in key
