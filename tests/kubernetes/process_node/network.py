"""Networks of pods: a namespace for each, joined by one bridge that all process nodes of this machine share."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.kubernetes.plane.shared_use import SharedUse

Document = dict[str, Any]

BRIDGE, GATEWAY = "pods0", "10.244.0.1/16"
LOOPBACK = "127.0.0.1"

_LOCK = Path(tempfile.gettempdir()) / f"{BRIDGE}.lock"


class BridgeUse:
    """A node's use of the bridge: the last one that ends takes it away, however the others ended."""

    def __init__(self) -> None:
        """Begin to use it."""
        self._use = SharedUse(_LOCK)

    def end(self) -> None:
        """End to use it, and take it away where nobody else does."""
        self._use.end(_remove_bridge)


class Networks:
    """The networks of a node's pods. Their names are kept in `folder`, so that what a lost node left can be removed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def join(self, network: str, address: str) -> None:
        """Make a pod's network with an address on the bridge."""
        (self._folder / network).touch()
        ip("link", "add", BRIDGE, "type", "bridge", tolerate=True)
        ip("address", "add", GATEWAY, "dev", BRIDGE, tolerate=True)
        ip("link", "set", BRIDGE, "up")
        port = _port(network)
        ip("netns", "add", network)
        ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", network)
        ip("link", "set", port, "master", BRIDGE, "up")
        ip("-n", network, "address", "add", f"{address}/16", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", network, "link", "set", device, "up")

    def leave(self, network: str) -> None:
        """Remove a pod's network, if it is there."""
        if (self._folder / network).exists():
            ip("netns", "delete", network, tolerate=True)
            (self._folder / network).unlink(missing_ok=True)

    def leave_all(self) -> None:
        """Remove every network of the folder."""
        for left in list(self._folder.iterdir()):
            self.leave(left.name)


def _remove_bridge() -> None:
    """Remove the bridge with the networks on it: nobody uses it, so their nodes were killed with what started them."""
    shown = subprocess.run(
        ["ip", "-json", "link", "show", "master", BRIDGE], capture_output=True, text=True, check=False
    )
    ports = [one["ifname"] for one in json.loads(shown.stdout or "[]")]
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    for network in (line.split()[0] for line in listed.stdout.splitlines()):
        if _port(network) in ports:
            ip("netns", "delete", network, tolerate=True)
    ip("link", "delete", BRIDGE, tolerate=True)


def _port(network: str) -> str:
    """Return the interface of a pod's network on the bridge; its name has 15 characters at most."""
    return "v" + network.removeprefix("pod-").replace("-", "")


def network_name(uid: str) -> str:
    """Return the name of the network namespace of a pod."""
    return f"pod-{uid[:13]}"


def address_of(uid: str) -> str:
    """Return the address of a pod, which its id chooses: nodes do not ask one another."""
    high, low = bytes.fromhex(uid.replace("-", ""))[:2]
    return f"10.244.{high or 1}.{low % 253 + 1}"


def hosts(pods: Iterable[Document], services: Iterable[Document]) -> str:
    """Return the file that containers see as /etc/hosts: the names that cluster DNS would give to pods of services."""
    selected = [one for one in services if one["spec"].get("selector")]
    lines = [f"{LOOPBACK} localhost"]
    for pod in pods:
        address = pod.get("status", {}).get("podIP")
        if address:
            names = [pod["metadata"]["name"], *_names(pod, selected)]
            lines.append(" ".join([address, *dict.fromkeys(names)]))
    return "\n".join(lines) + "\n"


def _names(pod: Document, services: Iterable[Document]) -> Iterable[str]:
    """Yield a pod's own names: those of the services that select it, and its own within the one it names."""
    metadata, spec = pod["metadata"], pod["spec"]
    if spec.get("hostname"):
        yield spec["hostname"]
    for service in services:
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        labels = metadata.get("labels") or {}
        if namespace != metadata["namespace"] or not service["spec"]["selector"].items() <= labels.items():
            continue
        bases = [name]
        if spec.get("subdomain") == name and spec.get("hostname"):
            bases.append(f"{spec['hostname']}.{name}")
        for base in bases:
            yield from (base, f"{base}.{namespace}", f"{base}.{namespace}.svc")
            yield f"{base}.{namespace}.svc.cluster.local"


def ip(*words: str, tolerate: bool = False) -> None:
    """Run iproute2's ip; what is there already, or gone, may be tolerated.

    Raises:
        RuntimeError: it fails.
    """
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode and not tolerate:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
