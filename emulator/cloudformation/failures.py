"""Failures that an operation handles, and the reasons that its events give."""

from __future__ import annotations

import logging

from botocore.exceptions import BotoCoreError, ClientError

from emulator.cloudformation.intrinsics import TemplateError
from emulator.resources.resource import ResourceFailure

log = logging.getLogger("emulator")

EXPECTED = (Exception,)
"""A handler's own mistake must fail the stack with a reason, too: one left in progress hangs every client."""


def reason(error: BaseException) -> str:
    """Return why something failed, as an event says it; a mistake of the emulator itself is logged whole."""
    if isinstance(error, ClientError):
        detail = error.response.get("Error", {})
        return f"{detail.get('Message')} (Service: {error.operation_name}, Error Code: {detail.get('Code')})"
    if isinstance(error, ResourceFailure | TemplateError | BotoCoreError):
        return str(error)
    log.error("a handler failed", exc_info=error)
    return f"the emulator itself failed: {type(error).__name__}: {error}"
