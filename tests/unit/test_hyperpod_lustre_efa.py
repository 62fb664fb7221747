"""The script that lets a node's Lustre client use EFA, run for real with programs that record their arguments."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.programs import require_program
from trainforge.programs import NODES

SCRIPT = NODES / "hyperpod" / "disk" / "lustre_efa.sh"
TCP = "net add --net tcp --if ens1"
PREFERENCE = "udsp add --src efa --priority 0"


class Client:
    """A folder with EFA devices, and fakes of lnetctl, modprobe, modinfo and ip."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.programs = folder / "programs"
        self.programs.mkdir()
        self.calls = folder / "calls"
        self.refused = folder / "refused"
        self.networks = folder / "networks"
        record = f'echo "$(basename "$0") $*" >> {self.calls}\n'
        refuse = f'if [ -e {self.refused} ] && [[ "$*" == $(cat {self.refused}) ]]; then exit 1; fi\n'
        self._program(
            "lnetctl",
            record + refuse + f'case "$*" in "net show --net efa") cat {self.networks};; esac\nexit 0\n',
        )
        self._program("modprobe", record + refuse)
        self._program("modinfo", refuse)
        self._program("ip", "echo default via 10.0.0.1 dev ens1 proto dhcp\n")
        self.networks.touch()

    def _program(self, name: str, body: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/bash\n{body}", encoding="utf-8")
        path.chmod(0o755)

    def devices(self, count: int, *, driver: str = "efa") -> None:
        """Give it devices rdmap000s0, rdmap001s0, ... of a driver."""
        drivers = self.root / "drivers" / driver
        drivers.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            device = self.root / "sys/class/infiniband" / f"rdmap{index:03d}s0" / "device"
            device.mkdir(parents=True)
            (device / "driver").symlink_to(drivers)

    def run(self) -> tuple[str, list[str]]:
        """Run the script; return its output and the arguments of lnetctl and modprobe."""
        done = subprocess.run(
            ["bash", str(SCRIPT)],
            env={"PATH": f"{self.programs}:{os.environ['PATH']}", "NODE_ROOT": str(self.root)},
            capture_output=True,
            text=True,
            check=True,
        )
        calls = self.calls.read_text(encoding="utf-8").splitlines() if self.calls.exists() else []
        return done.stdout, calls


@pytest.fixture
def client(tmp_path: Path) -> Client:
    require_program("bash", "it is in every Linux")
    return Client(tmp_path)


def efa_networks(calls: list[str]) -> list[str]:
    """Return the devices that became EFA networks."""
    return [call.split()[6] for call in calls if call.startswith("lnetctl net add --net efa --if")]


@pytest.mark.parametrize(
    ("count", "chosen"),
    [
        (1, ["rdmap000s0"]),
        (2, ["rdmap000s0", "rdmap001s0"]),
        (16, ["rdmap000s0", "rdmap015s0"]),
        (32, [f"rdmap{index:03d}s0" for index in range(0, 32, 4)]),
    ],
)
def test_the_devices_of_the_guide_become_networks(client: Client, count: int, chosen: list[str]) -> None:
    client.devices(count)
    said, calls = client.run()
    assert efa_networks(calls) == chosen
    assert f"{len(chosen)} of {count} devices" in said


def test_modules_come_before_networks_and_the_preference_last(client: Client) -> None:
    client.devices(1)
    _, calls = client.run()
    steps = [call for call in calls if "show" not in call]
    assert steps == [
        "modprobe lnet",
        "modprobe kefalnd ipif_name=ens1",
        "modprobe ksocklnd",
        "lnetctl lnet configure",
        "lnetctl net del --net tcp",
        f"lnetctl {TCP}",
        "lnetctl net add --net efa --if rdmap000s0 --peer-credits 32",
        "lnetctl set discovery 1",
        f"lnetctl {PREFERENCE}",
    ]


def test_a_client_that_is_set_up_is_left_alone(client: Client) -> None:
    client.devices(1)
    client.networks.write_text("    - nid: 172.31.0.1@efa\n", encoding="utf-8")
    said, calls = client.run()
    assert "set up already" in said
    assert calls == ["lnetctl net show --net efa"]


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        ("kefalnd", "no module kefalnd"),
        ("kefalnd ipif_name=ens1", "module kefalnd does not load"),
        (TCP, "LNet takes no TCP network on ens1"),
        ("net add --net efa --if rdmap001s0 *", "LNet takes no EFA network on rdmap001s0"),
        (PREFERENCE, "LNet takes no policy that prefers EFA"),
    ],
)
def test_what_fails_leaves_the_client_on_tcp(client: Client, refused: str, reason: str) -> None:
    client.devices(2)
    client.refused.write_text(refused, encoding="utf-8")
    said, calls = client.run()
    assert f"{reason}: Lustre is mounted over TCP" in said
    assert calls[-3:] == [
        "lnetctl net del --net efa",
        "lnetctl net show --net tcp",
        "lnetctl lnet unconfigure",
    ]


@pytest.mark.parametrize("driver", ["", "mlx5_core"])
def test_a_node_without_efa_stays_on_tcp(client: Client, driver: str) -> None:
    if driver:
        client.devices(1, driver=driver)
    said, calls = client.run()
    assert "no EFA device: Lustre is mounted over TCP" in said
    assert efa_networks(calls) == []
