"""A real Prometheus scrapes the EFA exporter over devices of all generations: types, values, and starts from 0."""

from __future__ import annotations

from pathlib import Path

from catalog.metrics import of_exporter
from tests.exporters.efa_sysfs import every_generation
from tests.exporters.prometheus import exporter, prometheus

DROPS = "efa_port_rx_drops_total"


def test_prometheus_has_the_types_and_values_of_all_generations(tmp_path: Path) -> None:
    sysfs = every_generation(tmp_path / "sys")
    port_counters = sysfs.root / "class/infiniband/efa_3/ports/1/hw_counters"
    (port_counters / "new_counter").write_text("7\n")
    (sysfs.root / "class/infiniband/efa_1/ports/1/state").write_text("1: DOWN\n")
    with (
        exporter("efa", f"--sys={sysfs.root}") as port,
        prometheus(tmp_path, {"efa": [port]}) as server,
    ):
        server.wait_for(DROPS, lambda found: len(found) == 4)
        types = server.types()
        for metric in of_exporter("efa"):
            expected = {"info": "gauge", "unknown": "unknown"}.get(metric.type, metric.type)
            # It asks for OpenMetrics, where a counter's family has no ending.
            assert types[metric.name.removesuffix("_total")] == {expected}, metric.name
            # A busy machine may miss a scrape.
            found = server.query(f"last_over_time({metric.name}[1m])")
            assert found, metric.name
            # Prometheus drops a label without a value.
            assert {name for labels in found for name, _ in labels} <= set(metric.labels)
        assert server.query(f"last_over_time({DROPS}[1m])") == {
            (("device", f"efa_{number}"), ("port", "1")): sysfs.values[f"efa_{number}", "rx_drops"]
            for number in range(4)
        }
        rates = "last_over_time(efa_port_rate_bytes_per_second[1m])"
        assert server.query(f"sum by (device) ({rates}) * 8 / 1e9") == {
            (("device", "efa_0"),): 100,
            (("device", "efa_1"),): 100,
            (("device", "efa_2"),): 200,
            (("device", "efa_3"),): 400,
        }
        # The largest value of 64 bits, then an overflow: a start from 0, which no rate takes for a fall.
        (port_counters / "rx_drops").write_text(f"{2**64 - 1}\n")
        server.wait_for(f'{DROPS}{{device="efa_3"}} > 1e19')
        (port_counters / "rx_drops").write_text("5\n")
        server.wait_for(f'{DROPS}{{device="efa_3"}} == 5')
        assert list(server.query(f'resets({DROPS}{{device="efa_3"}}[5m])').values()) == [1]
        assert list(server.query(f'rate({DROPS}{{device="efa_3"}}[5m]) >= 0').values())
        # A device that leaves takes its series with it; the others stay.
        (sysfs.root / "class/infiniband/efa_2").unlink()
        server.wait_for("efa_devices == 3")
        server.wait_for(DROPS, lambda found: len(found) == 3)
