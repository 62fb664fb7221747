"""The environment that points every AWS program at the emulator and at nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping

ACCOUNT = "123456789012"
"""moto's account."""

DEFAULT_REGION = "us-west-2"

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def aws_variables(endpoint: str, region: str) -> dict[str, str]:
    """Return the variables that a person exports to use the emulator."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "emulator",
        "AWS_SECRET_ACCESS_KEY": "emulator",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "CDK_DEFAULT_ACCOUNT": ACCOUNT,
        "CDK_DEFAULT_REGION": region,
        # Without it, SDKs ask the address of EC2's metadata service and wait.
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "localhost,127.0.0.1",
        "no_proxy": "localhost,127.0.0.1",
    }


def emulated(endpoint: str, region: str, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return `base` (or this process's environment) with AWS pointed at the emulator.

    Whatever AWS variables, profiles and proxies it held are left out: nothing may reach a real account.
    """
    kept = {
        name: value
        for name, value in (os.environ if base is None else base).items()
        if not name.startswith(("AWS_", "CDK_")) and name not in _PROXIES
    }
    isolated = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    return {**kept, **isolated, **aws_variables(endpoint, region)}
