"""The dashboard of accelerators' health: errors, memory, temperature, throttling."""

from __future__ import annotations

from typing import Final

from observability.dashboards.model import (
    CLUSTER,
    GOOD_BELOW_ONE,
    NODES,
    ON_NODES,
    Board,
    Panel,
    Query,
    Row,
    number,
    query,
)

_GPU = "{{cluster}} {{node}} GPU {{gpu}}"
_NODE = "{{cluster}} {{node}}"
_BY = "cluster, node, gpu"


def _errors(title: str, metric: str, about: str) -> Panel:
    """Return a table of the GPUs whose counter is above 0."""
    return Panel(
        title=title,
        queries=query(f"max by ({_BY}) ({metric}{{{ON_NODES}}}) > 0"),
        about=about,
        kind="table",
        width=8,
        height=7,
        alone="none",
    )


def _of_nodes(title: str, expr: str, about: str, unit: str) -> Panel:
    """Return the ten highest nodes, each by its highest GPU."""
    return Panel(
        title=title,
        queries=query(f"topk(10, max by (cluster, node) ({expr}))", _NODE),
        about=about,
        unit=unit,
    )


ACCELERATORS: Final = Board(
    uid="trainforge-accelerators",
    title="Accelerator health",
    about="Errors, memory, temperature and throttling of GPUs and Neuron devices.",
    variables=(CLUSTER, NODES),
    rows=(
        Row(
            title="Now",
            panels=(
                number("GPUs", f"sum(node:gpus:count{{{ON_NODES}}})", "GPUs that DCGM sees."),
                number(
                    "GPUs with an Xid",
                    f"count(max by ({_BY}) (DCGM_FI_DEV_XID_ERRORS{{{ON_NODES}}} > 0)) or vector(0)",
                    "GPUs that reported an Xid since their driver started.",
                    steps=GOOD_BELOW_ONE,
                ),
                number(
                    "With memory errors",
                    f"count(max by ({_BY}) (DCGM_FI_DEV_ECC_DBE_VOL_TOTAL{{{ON_NODES}}}) > 0) or vector(0)",
                    "GPUs with memory errors of two bits since the last reset.",
                    steps=GOOD_BELOW_ONE,
                ),
                number(
                    "Rows wait for a reset",
                    f"count(max by ({_BY}) (DCGM_FI_DEV_ROW_REMAP_PENDING{{{ON_NODES}}}) > 0) or vector(0)",
                    "GPUs that have to be reset to replace a memory row.",
                    steps=GOOD_BELOW_ONE,
                ),
                number(
                    "Throttled by heat",
                    f"count(gpu:thermal_throttling:ratio_rate10m{{{ON_NODES}}} > 0.05) or vector(0)",
                    "GPUs whose clocks the temperature reduces for more than 5 % of the time.",
                    steps=GOOD_BELOW_ONE,
                ),
                number(
                    "Neuron memory errors",
                    "sum(max by (cluster, node, neuron_device_index, event_type) (hardware_ecc_events_total"
                    f'{{{ON_NODES},event_type=~".*uncorrected"}})) or vector(0)',
                    "Errors of Neuron devices that could not be corrected.",
                    steps=GOOD_BELOW_ONE,
                ),
            ),
        ),
        Row(
            title="Errors",
            panels=(
                _errors("Last Xid", "DCGM_FI_DEV_XID_ERRORS", "The last Xid code of each GPU that has one."),
                _errors(
                    "Memory errors of two bits",
                    "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL",
                    "Since the driver started or the GPU was reset.",
                ),
                _errors(
                    "Replaced memory rows",
                    "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS",
                    "Rows that spare ones replaced, after errors that could not be corrected.",
                ),
                Panel(
                    title="Xid codes over time",
                    queries=query(f"max by ({_BY}) (DCGM_FI_DEV_XID_ERRORS{{{ON_NODES}}} > 0)", _GPU),
                    about="The last code of each GPU. A step is a new error; the same code again shows no step.",
                    minimum=0,
                ),
                Panel(
                    title="Errors on links",
                    queries=(
                        Query(
                            expr=(
                                f"topk(4, sum by (cluster, node) (rate(DCGM_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL"
                                f"{{{ON_NODES}}}[$__rate_interval])))"
                            ),
                            legend=f"NVLink {_NODE}",
                        ),
                        Query(
                            expr=(
                                f"topk(4, sum by (cluster, node) (rate(DCGM_FI_DEV_PCIE_REPLAY_COUNTER"
                                f"{{{ON_NODES}}}[$__rate_interval])))"
                            ),
                            legend=f"PCIe {_NODE}",
                        ),
                    ),
                    about="Retries each second on NVLink and PCIe: the nodes with the most.",
                    unit="cps",
                    minimum=0,
                ),
                Panel(
                    title="Neuron memory errors",
                    queries=query(
                        "sum by (cluster, node, event_type) (increase(hardware_ecc_events_total"
                        f"{{{ON_NODES}}}[$__rate_interval]))",
                        "{{cluster}} {{node}} {{event_type}}",
                    ),
                    about="Memory errors of Neuron devices, corrected ones too.",
                    minimum=0,
                ),
                Panel(
                    title="Failed executions on Neuron",
                    queries=query(
                        "sum by (cluster, node, error_type) (increase(execution_errors_total"
                        f"{{{ON_NODES}}}[$__rate_interval]))",
                        "{{cluster}} {{node}} {{error_type}}",
                    ),
                    about="By type of error; hardware is a fault of a device.",
                    minimum=0,
                ),
            ),
        ),
        Row(
            title="Heat and power",
            panels=(
                _of_nodes(
                    "Temperature",
                    f"DCGM_FI_DEV_GPU_TEMP{{{ON_NODES}}}",
                    "The hottest GPU of a node: the ten hottest nodes.",
                    "celsius",
                ),
                Panel(
                    title="Hottest GPUs",
                    queries=query(f"topk(10, max by ({_BY}) (DCGM_FI_DEV_GPU_TEMP{{{ON_NODES}}}))", _GPU),
                    about="Now. One that differs from the others of its node is suspect.",
                    kind="bars",
                    unit="celsius",
                    minimum=0,
                ),
                _of_nodes(
                    "Throttled by temperature",
                    f"gpu:thermal_throttling:ratio_rate10m{{{ON_NODES}}}",
                    "Share of time with reduced clocks, of a node's worst GPU.",
                    "percentunit",
                ),
                _of_nodes(
                    "Throttled by power",
                    f"rate(DCGM_FI_DEV_POWER_VIOLATION{{{ON_NODES}}}[10m]) / 1e9",
                    "Share of time with reduced clocks. Common under dense matrix work: compare nodes.",
                    "percentunit",
                ),
            ),
        ),
    ),
)
