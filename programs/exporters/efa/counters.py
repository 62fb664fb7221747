"""The counters of EFA's kernel driver: the names of their files, and the metrics that they are exported as.

Source: amzn/amzn-drivers, kernel/linux/efa/src/efa_verbs.c of driver 3.1 (commit 64788ef), EFA_DEFINE_PORT_STATS,
EFA_DEFINE_DEVICE_STATS and EFA_DEFINE_KVERBS_DEVICE_STATS. All are 64 bits wide, and those of the device count from the
load of the driver on. Older drivers lack some: messages and RDMA reads came with 1.10, RDMA writes with 2.5,
retransmission with 2.17 (RELEASENOTES.md).
"""

from __future__ import annotations

from collections.abc import Mapping

LIFESPAN = "lifespan"
"""A file beside the counters, with milliseconds: no counter (Linux, drivers/infiniband/core/sysfs.c)."""

PORT: Mapping[str, str] = {
    "tx_bytes": "efa_port_tx_bytes_total",
    "tx_pkts": "efa_port_tx_packets_total",
    "rx_bytes": "efa_port_rx_bytes_total",
    "rx_pkts": "efa_port_rx_packets_total",
    "rx_drops": "efa_port_rx_drops_total",
    "send_bytes": "efa_port_send_bytes_total",
    "send_wrs": "efa_port_send_work_requests_total",
    "recv_bytes": "efa_port_recv_bytes_total",
    "recv_wrs": "efa_port_recv_work_requests_total",
    "rdma_read_wrs": "efa_port_rdma_read_work_requests_total",
    "rdma_read_bytes": "efa_port_rdma_read_bytes_total",
    "rdma_read_wr_err": "efa_port_rdma_read_work_request_errors_total",
    "rdma_read_resp_bytes": "efa_port_rdma_read_response_bytes_total",
    "rdma_write_wrs": "efa_port_rdma_write_work_requests_total",
    "rdma_write_bytes": "efa_port_rdma_write_bytes_total",
    "rdma_write_wr_err": "efa_port_rdma_write_work_request_errors_total",
    "rdma_write_recv_bytes": "efa_port_rdma_write_recv_bytes_total",
    "retrans_bytes": "efa_port_retransmitted_bytes_total",
    "retrans_pkts": "efa_port_retransmitted_packets_total",
    "retrans_timeout_events": "efa_port_retransmit_timeouts_total",
    "unresponsive_remote_events": "efa_port_unresponsive_remote_events_total",
    "impaired_remote_conn_events": "efa_port_impaired_remote_connection_events_total",
}

DEVICE: Mapping[str, str] = {
    "submitted_cmds": "efa_device_submitted_commands_total",
    "completed_cmds": "efa_device_completed_commands_total",
    "cmds_err": "efa_device_command_errors_total",
    "no_completion_cmds": "efa_device_commands_without_completion_total",
    "keep_alive_rcvd": "efa_device_keep_alive_events_total",
    "alloc_pd_err": "efa_device_alloc_protection_domain_errors_total",
    "create_qp_err": "efa_device_create_queue_pair_errors_total",
    "create_cq_err": "efa_device_create_completion_queue_errors_total",
    "reg_mr_err": "efa_device_register_memory_errors_total",
    "alloc_ucontext_err": "efa_device_alloc_context_errors_total",
    "create_ah_err": "efa_device_create_address_handle_errors_total",
    "mmap_err": "efa_device_mmap_errors_total",
    "alloc_mr_err": "efa_device_alloc_memory_region_errors_total",
    "get_dma_mr_err": "efa_device_get_dma_region_errors_total",
}

NODE: Mapping[str, str] = {
    "tx_bytes": "efa_node_tx_bytes_total",
    "rx_bytes": "efa_node_rx_bytes_total",
    "rx_drops": "efa_node_rx_drops_total",
    "retrans_bytes": "efa_node_retransmitted_bytes_total",
    "retrans_timeout_events": "efa_node_retransmit_timeouts_total",
    "unresponsive_remote_events": "efa_node_unresponsive_remote_events_total",
    "send_bytes": "efa_node_send_bytes_total",
    "rdma_read_bytes": "efa_node_rdma_read_bytes_total",
    "rdma_write_bytes": "efa_node_rdma_write_bytes_total",
    "rdma_read_wr_err": "efa_node_rdma_read_work_request_errors_total",
    "rdma_write_wr_err": "efa_node_rdma_write_work_request_errors_total",
    "cmds_err": "efa_node_command_errors_total",
}
"""Counters that are also summed over the node: what rules and panels read of every node of a fleet. A query over each
device of 1,000 nodes would read 32,000 series."""
