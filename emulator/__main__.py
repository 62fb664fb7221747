"""Runs the emulator in the foreground: `python -m emulator [--port N] [--region R]`."""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import shlex
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from emulator import control_planes, kubernetes
from emulator.application import make_server, prepare
from emulator.environment import DEFAULT_REGION, aws_variables


def main() -> int:
    """Serve until Ctrl-C, SIGTERM or, with --watch-stdin, the end of standard input."""
    parser = argparse.ArgumentParser(prog="python -m emulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on loopback (default: any free one)")
    parser.add_argument("--region", default=DEFAULT_REGION, help=f"AWS region (default: {DEFAULT_REGION})")
    parser.add_argument("--ready-json", action="store_true", help="print one JSON line instead of exports")
    parser.add_argument("--watch-stdin", action="store_true", help="end when standard input is closed")
    parser.add_argument(
        "--control-planes",
        type=Path,
        metavar="FILE",
        help="JSON file that names a class which runs control planes for EKS clusters, and its options",
    )
    parser.add_argument(
        "--definitions",
        type=Path,
        metavar="FILE",
        help="JSON file with the custom resource definitions that each Helm release of others or EKS add-on brings "
        "(default: unknown, and objects of every kind are taken)",
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(levelname)s: %(message)s")
    # Modules and their data stay, and looking for garbage among them takes a quarter of the start.
    gc.disable()
    try:
        server = make_server("127.0.0.1", options.port)
    except (OSError, SystemExit) as error:
        print(
            f"error: cannot listen on port '{options.port}': {error}; choose another --port", file=sys.stderr
        )
        return 2
    endpoint = f"http://localhost:{server.server_address[1]}"
    prepare(endpoint, options.region)
    gc.freeze()
    gc.enable()
    if options.definitions:
        kubernetes.load_definitions(options.definitions)
    if options.control_planes:
        control_planes.load(options.control_planes)

    def stop(_number: int = 0, _frame: FrameType | None = None) -> None:
        # From another thread: shutdown() waits for the loop that this signal interrupted.
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    if options.watch_stdin:
        threading.Thread(target=_until_closed, args=(stop,), daemon=True).start()
    if options.ready_json:
        print(json.dumps({"endpoint": endpoint, "pid": os.getpid()}), flush=True)
    else:
        print(f"# the emulator listens at {endpoint}; Ctrl-C ends it. In another terminal:")
        for name, value in aws_variables(endpoint, options.region).items():
            print(f"export {name}={shlex.quote(value)}")
        print(flush=True)
    try:
        server.serve_forever()
    finally:
        control_planes.close()
    server.server_close()
    return 0


def _until_closed(stop: object) -> None:
    """Wait until the parent is gone, however it went, and stop."""
    sys.stdin.read()
    assert callable(stop)
    stop()


if __name__ == "__main__":
    sys.exit(main())
