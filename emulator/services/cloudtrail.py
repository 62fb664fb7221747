"""CloudTrail: the CDK CLI looks a failed deployment's calls up in it. The emulator keeps no trail."""

from __future__ import annotations

import json
from typing import Any

from moto.cloudtrail.responses import CloudTrailResponse

from emulator.moto_patches import put


def _no_events(_self: Any) -> str:
    return json.dumps({"Events": []})


def install() -> None:
    """Answer LookupEvents with nothing: moto answers with an error that the CLI repeats for 20 seconds."""
    put(CloudTrailResponse, "lookup_events", _no_events)
