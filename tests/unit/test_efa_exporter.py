"""The EFA exporter on a made-up sysfs: what it exports, and that no missing or broken file ends a scrape."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.core import Metric as Family

from catalog.metrics import of_exporter
from programs.exporters.efa import counters, devices
from programs.exporters.efa.devices import Device, Reader
from programs.exporters.efa.exporter import MAX_UNKNOWN, EfaExporter
from tests.exporters.efa_sysfs import (
    BASIC,
    DEVICE,
    GENERATIONS,
    KERNEL_VERBS,
    MESSAGES,
    NETWORK,
    WRITES,
    Sysfs,
    every_generation,
)
from tests.programs import ROOT


def collected(root: Path) -> dict[str, Family]:
    """Return the families of a scrape, by the names of their samples."""
    found = {}
    for family in EfaExporter(root).collect():
        names = {sample.name for sample in family.samples}
        assert len(names) == 1
        found[names.pop()] = family
    return found


def values(root: Path, name: str) -> dict[tuple[str, ...], float]:
    """Return the values of a metric by the values of its labels."""
    family = collected(root).get(name)
    return {} if family is None else {tuple(one.labels.values()): one.value for one in family.samples}


@pytest.fixture
def sysfs(tmp_path: Path) -> Sysfs:
    return every_generation(tmp_path / "sys")


def test_the_records_are_what_is_exported(sysfs: Sysfs) -> None:
    """Every metric of the catalog, and no other, with its type, labels and help."""
    device = sysfs.root / "class/infiniband/efa_3"
    (device / "hw_counters/new_counter").write_text("5\n")
    (device / "ports/1/state").write_text("1: DOWN\n")
    found = collected(sysfs.root)
    records = {metric.name: metric for metric in of_exporter("efa")}
    assert set(found) == set(records)
    for name, family in found.items():
        record = records[name]
        assert family.type == ("gauge" if record.type == "info" else record.type), name
        assert family.documentation == record.help
        assert {tuple(sample.labels) for sample in family.samples} == {record.labels}


def test_every_counter_of_the_driver_is_known() -> None:
    assert set(counters.PORT) == {*BASIC, *MESSAGES, *WRITES, *NETWORK}
    assert set(counters.DEVICE) == {*DEVICE, *KERNEL_VERBS}
    exported = {*counters.PORT.values(), *counters.DEVICE.values(), *counters.NODE.values()}
    assert len(exported) == len(counters.PORT) + len(counters.DEVICE) + len(counters.NODE)
    assert set(counters.NODE) <= {*counters.PORT, *counters.DEVICE}
    assert exported == {metric.name for metric in of_exporter("efa") if metric.type == "counter"}


@pytest.mark.parametrize("number", range(len(GENERATIONS)))
def test_each_generation_has_the_values_of_its_files(sysfs: Sysfs, number: int) -> None:
    device, generation = f"efa_{number}", list(GENERATIONS.values())[number]
    found = collected(sysfs.root)
    for files, names, labels in (
        (generation.port, counters.PORT, (device, "1")),
        (generation.device, counters.DEVICE, (device,)),
    ):
        for file, name in names.items():
            samples = {
                tuple(one.labels.values()): one.value
                for one in (found[name].samples if name in found else ())
            }
            if file in files:
                assert samples[labels] == sysfs.values[device, file], file
            else:
                assert labels not in samples, file
    assert values(sysfs.root, "efa_port_lifespan_seconds")[device, "1"] == 0.01
    assert values(sysfs.root, "efa_device_lifespan_seconds")[(device,)] == 0.01
    gigabits = int(generation.rate.split()[0])
    assert values(sysfs.root, "efa_port_rate_bytes_per_second")[device, "1"] == gigabits * 1e9 / 8
    facts = (device, f"0000:{number:02x}:1b.0", generation.pci_device, "0.0.0.0", str(number % 2))
    assert values(sysfs.root, "efa_device_info")[facts] == 1


def test_other_drivers_and_devices_without_one_are_left_out(sysfs: Sysfs) -> None:
    bare = sysfs.add("rxe0", GENERATIONS["EFA 1"], number=9)
    (bare / "device" / "driver").unlink()
    assert values(sysfs.root, "efa_devices") == {(): 4}
    assert {labels[0] for labels in values(sysfs.root, "efa_port_state")} == {f"efa_{n}" for n in range(4)}
    assert sum(values(sysfs.root, "efa_exporter_unreadable_files").values()) == 0


def test_the_sums_of_a_node_never_fall(tmp_path: Path) -> None:
    """They grow by what each device counts: a start from 0, a device that leaves and one that is new are no traffic."""
    sysfs = Sysfs(tmp_path)
    for number in range(2):
        sysfs.add(f"efa_{number}", GENERATIONS["EFA 3"], number=number)
    exporter = EfaExporter(sysfs.root)

    def drops() -> float:
        [found] = [family for family in exporter.collect() if family.name == "efa_node_rx_drops"]
        return found.samples[0].value

    def set_drops(device: str, value: int) -> None:
        (sysfs.root / "class/infiniband" / device / "ports/1/hw_counters/rx_drops").write_text(f"{value}\n")

    def grows_by(growth: int) -> None:
        nonlocal total
        total += growth
        assert drops() == total

    set_drops("efa_0", 1000)
    set_drops("efa_1", 2000)
    total = 0
    grows_by(0)
    set_drops("efa_0", 1007)
    set_drops("efa_1", 2001)
    grows_by(8)
    set_drops("efa_1", 3)
    grows_by(3)
    place = sysfs.root / "class/infiniband/efa_0"
    target = place.readlink()
    place.unlink()
    grows_by(0)
    place.symlink_to(target)
    set_drops("efa_0", 1008)
    grows_by(1)
    sysfs.add("efa_2", GENERATIONS["EFA 3"], number=2)
    set_drops("efa_2", 5000)
    grows_by(0)


def test_a_scrape_beside_another_adds_no_traffic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that the slower of two has read is older than the one that the other has added: no start from 0."""
    sysfs = Sysfs(tmp_path)
    device = sysfs.add("efa_0", GENERATIONS["EFA 3"])
    exporter = EfaExporter(sysfs.root)
    list(exporter.collect())
    known = sysfs.values["efa_0", "rx_drops"]
    read_devices = Reader.devices
    beside: list[threading.Thread] = []

    def slowly(reader: Reader) -> Iterator[Device]:
        found = list(read_devices(reader))
        if not beside:
            (device / "ports/1/hw_counters/rx_drops").write_text(f"{known + 5}\n")
            beside.append(threading.Thread(target=lambda: list(exporter.collect()), daemon=True))
            beside[0].start()
            beside[0].join(0.2)
        yield from found

    monkeypatch.setattr(Reader, "devices", slowly)
    list(exporter.collect())
    beside[0].join(60)
    sums = {family.name: family.samples[0].value for family in exporter.collect() if "_node_" in family.name}
    assert sums["efa_node_rx_drops"] == 5


def test_the_sums_of_a_node_hold_each_counter_once(tmp_path: Path) -> None:
    """A driver before 1.14 has the counters of its port at the device too, and no counter of retransmission."""
    sysfs = Sysfs(tmp_path)
    device = sysfs.add("efa_0", GENERATIONS["EFA 0"])
    exporter = EfaExporter(sysfs.root)
    list(exporter.collect())
    for folder in (device, device / "ports/1"):
        file = folder / "hw_counters/tx_bytes"
        file.write_text(f"{sysfs.values['efa_0', 'tx_bytes'] + 5}\n")
    sums = {family.name: family.samples[0].value for family in exporter.collect() if "_node_" in family.name}
    assert sums["efa_node_tx_bytes"] == 5
    assert "efa_node_retransmitted_bytes" not in sums


def test_a_node_without_rdma_devices_has_none(tmp_path: Path) -> None:
    assert values(tmp_path, "efa_devices") == {(): 0}
    assert sum(values(tmp_path, "efa_exporter_unreadable_files").values()) == 0


def test_states(sysfs: Sysfs) -> None:
    port = sysfs.root / "class/infiniband/efa_1/ports/1"
    (port / "state").write_text("1: DOWN\n")
    (port / "phys_state").write_text("3: Disabled\n")
    (port / "rate").write_text("2.5 Gb/sec (1X SDR)\n")
    assert values(sysfs.root, "efa_port_state")["efa_1", "1"] == 1
    assert values(sysfs.root, "efa_inactive_port_state") == {("efa_1", "1"): 1}
    assert values(sysfs.root, "efa_port_physical_state")["efa_1", "1"] == 3
    assert values(sysfs.root, "efa_port_rate_bytes_per_second")["efa_1", "1"] == 2.5e9 / 8


def test_an_unknown_counter_is_exported_and_counted(sysfs: Sysfs) -> None:
    folder = sysfs.root / "class/infiniband/efa_2"
    (folder / "hw_counters" / "resets").write_text("3\n")
    (folder / "ports/1/hw_counters" / "ecn_pkts").write_text("4\n")
    assert values(sysfs.root, "efa_unknown_counter") == {
        ("efa_2", "", "resets"): 3,
        ("efa_2", "1", "ecn_pkts"): 4,
    }
    assert values(sysfs.root, "efa_exporter_unknown_counters") == {(): 2}


def test_unknown_counters_are_bounded(sysfs: Sysfs) -> None:
    folder = sysfs.root / "class/infiniband/efa_2/hw_counters"
    for number in range(MAX_UNKNOWN + 5):
        (folder / f"new_{number}").write_text("1\n")
    assert len(values(sysfs.root, "efa_unknown_counter")) == MAX_UNKNOWN
    assert values(sysfs.root, "efa_exporter_left_out_counters") == {(): 5}


@pytest.mark.parametrize("text", ["", "N/A (no PMA)", "-1", "1e9", "0x10", "12 34", "\xff"])
def test_a_malformed_counter_is_left_out_and_counted(sysfs: Sysfs, text: str) -> None:
    (sysfs.root / "class/infiniband/efa_3/ports/1/hw_counters/rx_drops").write_text(text, encoding="latin-1")
    assert ("efa_3", "1") not in values(sysfs.root, "efa_port_rx_drops_total")
    assert ("efa_2", "1") in values(sysfs.root, "efa_port_rx_drops_total")
    assert values(sysfs.root, "efa_exporter_unreadable_files")[("malformed",)] == 1


@pytest.mark.parametrize("name", ["state", "phys_state", "rate"])
def test_a_malformed_state_is_left_out_and_counted(sysfs: Sysfs, name: str) -> None:
    (sysfs.root / "class/infiniband/efa_3/ports/1" / name).write_text("unknown\n")
    assert values(sysfs.root, "efa_exporter_unreadable_files")[("malformed",)] == 1
    assert ("efa_3", "1") in values(sysfs.root, "efa_port_rx_drops_total")


def test_the_largest_counter_is_exported(sysfs: Sysfs) -> None:
    largest = 2**64 - 1
    (sysfs.root / "class/infiniband/efa_3/ports/1/hw_counters/rx_bytes").write_text(f"{largest}\n")
    assert values(sysfs.root, "efa_port_rx_bytes_total")["efa_3", "1"] == largest


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(19, "No such device"), "gone"),
        (OSError(13, "denied"), "denied"),
        (OSError(5, "I/O"), "failed"),
    ],
    ids=["gone", "denied", "failed"],
)
def test_a_file_that_cannot_be_read_is_counted(
    sysfs: Sysfs, monkeypatch: pytest.MonkeyPatch, error: OSError, reason: str
) -> None:
    def fail(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "rx_drops" and "ports" in path.parts and "efa_3" in path.parts:
            raise error
        return open(path, *arguments, **options)

    monkeypatch.setattr(devices, "open", fail, raising=False)
    assert ("efa_3", "1") not in values(sysfs.root, "efa_port_rx_drops_total")
    assert values(sysfs.root, "efa_exporter_unreadable_files")[(reason,)] == 1
    assert ("efa_3", "1") in values(sysfs.root, "efa_port_rx_bytes_total")


def vanishing(at: str, sysfs: Sysfs) -> Callable[..., Any]:
    """Return an open() that takes the device efa_2 away when a file of it is opened."""

    def take(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == at and "efa_2" in path.parts and "ports" in path.parts:
            shutil.rmtree(os.path.realpath(sysfs.root / "class/infiniband/efa_2"), ignore_errors=True)
        return open(path, *arguments, **options)

    return take


@pytest.mark.parametrize("at", ["rx_drops", "state", "rate"])
def test_a_device_that_vanishes_in_a_scrape_ends_nothing(
    sysfs: Sysfs, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    monkeypatch.setattr(devices, "open", vanishing(at, sysfs), raising=False)
    found = collected(sysfs.root)
    gone = {tuple(one.labels.values()): one.value for one in found["efa_exporter_unreadable_files"].samples}
    assert gone[("gone",)] > 0
    assert {("efa_0", "1"), ("efa_1", "1"), ("efa_3", "1")} <= {
        tuple(one.labels.values()) for one in found["efa_port_rate_bytes_per_second"].samples
    }
    monkeypatch.undo()
    # Its link is left, as a device's is for a moment; the next scrape has the other three.
    assert values(sysfs.root, "efa_devices") == {(): 3}


def test_a_series_is_exported_once(sysfs: Sysfs) -> None:
    """A driver that reports everything at the device and at the port must not end the whole scrape."""
    for family in EfaExporter(sysfs.root).collect():
        series = [tuple(sorted(sample.labels.items())) for sample in family.samples]
        assert len(series) == len(set(series)), family.name


def test_the_series_of_a_node_are_those_that_the_page_says(tmp_path: Path) -> None:
    Sysfs(tmp_path).fleet_node(32, GENERATIONS["EFA 3"])
    series = sum(len(family.samples) for family in EfaExporter(tmp_path).collect())
    page = (ROOT / "docs" / "exporters.md").read_text(encoding="utf-8")
    assert f"a node with 32 devices has {series:,}." in page
