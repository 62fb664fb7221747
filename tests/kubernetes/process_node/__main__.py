"""The command line of a process node: `python -m tests.kubernetes.process_node --help`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

import yaml

from tests.kubernetes import process_node
from tests.kubernetes.process_node.mounts import Root
from tests.kubernetes.process_node.network import BridgeUse, Networks
from tests.kubernetes.process_node.node import Node
from tests.kubernetes.process_node.patient_api import PatientApi
from tests.kubernetes.process_node.pod import Host


def _pair(word: str) -> tuple[str, Path]:
    """Return a NAME=DIR word as name and folder.

    Raises:
        argparse.ArgumentTypeError: it is no such word, or the folder is not there.
    """
    name, separator, folder = word.partition("=")
    if not separator or not Path(folder).is_dir():
        raise argparse.ArgumentTypeError(f"'{word}': give NAME=DIR, DIR a folder that is there")
    return name, Path(folder).resolve()


def _file(word: str) -> Path:
    """Return the path of a file.

    Raises:
        argparse.ArgumentTypeError: it is not there.
    """
    if not Path(word).is_file():
        raise argparse.ArgumentTypeError(f"'{word}' is not a file")
    return Path(word)


def main() -> int:
    """Run the node until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.kubernetes.process_node",
        description=process_node.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kubeconfig", type=_file, required=True)
    parser.add_argument("--name", required=True, help="the node's name")
    parser.add_argument("--folder", type=Path, required=True, help="where it keeps its files")
    parser.add_argument(
        "--node", type=_file, help="a Node object: labels, taints, capacity and allocatable are its"
    )
    parser.add_argument(
        "--image",
        type=_pair,
        action="append",
        default=[],
        metavar="IMAGE=DIR",
        help="an image's content; * is any other",
    )
    parser.add_argument(
        "--path",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="programs that containers find first",
    )
    parser.add_argument(
        "--claim", type=_pair, action="append", default=[], metavar="NAME=DIR", help="the folder of a claim"
    )
    parser.add_argument(
        "--claims", type=Path, metavar="DIR", help="the folder of the folders of other claims"
    )
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("a process node takes root: its pods have networks and mounts of their own")
    folder: Path = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    declared = yaml.safe_load(options.node.read_text(encoding="utf-8")) if options.node else {}
    use = BridgeUse()
    try:
        host = Host(
            api=PatientApi(options.kubeconfig),
            name=options.name,
            folder=folder,
            root=Root(
                dict(options.image),
                [path.resolve() for path in options.path],
                _tools(folder),
            ),
            networks=Networks(folder / "networks"),
            claims=dict(options.claim),
            claims_folder=(options.claims or folder.parent / "claims").resolve(),
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: host.ending.set())
        Node(host, declared).run()
    finally:
        use.end()
    return 0


def _tools(folder: Path) -> Path:
    """Return a folder of what a small image has and this machine may lack: nslookup, with which the init container
    of a PyTorchJob's worker asks for its master's name (training-operator 1.9)."""
    tools = folder / "bin"
    tools.mkdir(exist_ok=True)
    (tools / "nslookup").write_text('#!/bin/sh\nexec getent hosts "$1"\n', encoding="utf-8")
    (tools / "nslookup").chmod(0o755)
    return tools


if __name__ == "__main__":
    sys.exit(main())
