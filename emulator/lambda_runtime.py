"""Runs Python functions of the stacks in this process, as Lambda would: code from the service, event, context."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from emulator.resources.resource import ResourceFailure

_environment = threading.RLock()
"""The environment and sys.path belong to the process: one function at a time."""


class LambdaContext:
    """The context object that a function gets with an invocation."""

    def __init__(self, name: str, arn: str, timeout_seconds: int, request_id: str) -> None:
        self.function_name = name
        self.invoked_function_arn = arn
        self.aws_request_id = request_id
        self.memory_limit_in_mb = "128"
        self.log_group_name = f"/aws/lambda/{name}"
        self.log_stream_name = request_id
        self._deadline = time.monotonic() + timeout_seconds

    def get_remaining_time_in_millis(self) -> int:
        """Return the time left (milliseconds)."""
        return max(0, int((self._deadline - time.monotonic()) * 1000))


def configuration(client: Any, function: str) -> dict[str, Any]:
    """Return what the service knows about a function, given by name or ARN.

    Raises:
        ResourceFailure: there is no such function.
    """
    try:
        found: dict[str, Any] = client.get_function(FunctionName=function)["Configuration"]
    except client.exceptions.ResourceNotFoundException:
        raise ResourceFailure(f"there is no function '{function}' in the emulator") from None
    return found


def invoke(client: Any, function: str, code: bytes, event: dict[str, Any], request_id: str) -> Any:
    """Run a Python function on an event and return what it returns.

    Raises:
        ResourceFailure: it is not a Python function, its module or handler is missing, it ends its process, or it
            takes longer than its timeout.
        Exception: whatever the function raises.
    """
    facts = configuration(client, function)
    if not facts.get("Runtime", "").startswith("python"):
        raise ResourceFailure(
            f"the emulator runs Python functions only; '{facts['FunctionName']}' is '{facts.get('Runtime')}'"
        )
    module_name, _, attribute = facts["Handler"].rpartition(".")
    context = LambdaContext(facts["FunctionName"], facts["FunctionArn"], facts["Timeout"], request_id)
    variables = facts.get("Environment", {}).get("Variables", {})
    with _environment, tempfile.TemporaryDirectory(prefix="emulator-lambda-") as folder:
        zipfile.ZipFile(io.BytesIO(code)).extractall(folder)
        with _surroundings(folder, {**variables, "AWS_LAMBDA_FUNCTION_NAME": facts["FunctionName"]}):

            def run() -> Any:
                module = _module(module_name)
                try:
                    entry = getattr(module, attribute)
                except AttributeError:
                    raise ResourceFailure(f"'{module_name}' has no function '{attribute}'") from None
                return entry(event, context)

            return _bounded(run, facts["Timeout"])


def _bounded(run: Callable[[], Any], seconds: float) -> Any:
    """Return what `run` returns within `seconds`; a thread that takes longer is left behind.

    Raises:
        ResourceFailure: it takes longer, or ends the process, in Lambda's words.
        Exception: whatever it raises.
    """
    returned: list[Any] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            returned.append(run())
        except BaseException as error:
            raised.append(error)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(seconds)
    if worker.is_alive():
        raise ResourceFailure(f"Task timed out after {seconds:.2f} seconds")
    if not raised:
        return returned[0]
    if isinstance(raised[0], Exception):
        raise raised[0]
    raise ResourceFailure(f"Runtime exited with error: {type(raised[0]).__name__}: {raised[0]}")


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name.replace("/", "."))
    except ModuleNotFoundError as error:
        raise ResourceFailure(f"the function's module cannot be imported: {error}") from error


@contextlib.contextmanager
def _surroundings(folder: str, variables: dict[str, str]) -> Iterator[None]:
    """Put the function's folder first on sys.path and its variables into the environment, and take them back."""
    before, modules = dict(os.environ), set(sys.modules)
    os.environ.update(variables)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        os.environ.clear()
        os.environ.update(before)
        for name in set(sys.modules) - modules:
            # Functions may have modules of the same name: the next one must not get this one's.
            if (getattr(sys.modules[name], "__file__", None) or "").startswith(folder):
                del sys.modules[name]
