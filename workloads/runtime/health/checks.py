"""Every check that a probe reports on: its severities, its next step, and where the judgement is from.

The table of docs/health.md is made of these records. A probe can report nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

from .severity import Severity

_XID = "NVIDIA, Xid catalog, 'Resolution Bucket (Immediate Action)', read 2026-11-28"
_MEMORY = "NVIDIA, GPU Memory Error Management, and the Xid catalog (48, 63, 64), read 2026-11-28"
_EKS = "aws/eks-node-monitoring-agent, docs/node-health-issues.adoc, read 2026-11-28"
_NEURON = "AWS Neuron, 'Neuron Runtime Troubleshooting', hardware errors, read 2026-11-28"
_DCGM = "NVIDIA/DCGM, dcgm_errors.h, dcgmErrorSeverity_enum, read 2026-11-28"
_OURS = "our choice"

_REPLACE = "replace the instance; its host keeps the fault over a reboot"
_SUPPORT = "keep the instance for AWS Support, or replace it"


@dataclass(frozen=True)
class Check:
    """A check: its name, the severities that it may report, what it compares, the next step, and the source.

    `source` says from where the severity is: a document by its name, or our choice.
    """

    name: str
    severities: tuple[Severity, ...]
    compares: str
    next_step: str
    source: str


_ALL = (
    Check(
        "instance-type",
        (Severity.ERROR,),
        "the instance type is one of the catalog",
        "give --instance-type, or add the type to the catalog ('trainforge catalog refresh')",
        _OURS + ": nothing can be compared for an unknown type",
    ),
    Check(
        "probe",
        (Severity.ERROR,),
        "a probe ends in time, and its programs answer in a form that is known",
        "run the command that the report names on the node, and read its output",
        _OURS + ": what cannot be judged is no pass",
    ),
    Check(
        "gpu-count",
        (Severity.REPLACE,),
        "nvidia-smi lists as many GPUs as the type has",
        _REPLACE,
        _EKS + " (NvidiaDeviceCountMismatch); replacement is our choice",
    ),
    Check(
        "gpu-answers",
        (Severity.REBOOT,),
        "nvidia-smi answers",
        "reboot the node; replace the instance if the driver hangs again",
        _OURS + ": a hung driver needs a new boot",
    ),
    Check(
        "gpu-memory-size",
        (Severity.ISOLATE,),
        "each GPU has the type's memory, less 10 % for ECC and the driver",
        "look for MIG ('nvidia-smi mig -lgi') or another GPU than the type's; then replace the instance",
        _OURS,
    ),
    Check(
        "ecc-mode",
        (Severity.MONITOR,),
        "ECC is on",
        "switch ECC on ('nvidia-smi -e 1') and reboot",
        _OURS,
    ),
    Check(
        "ecc-volatile",
        (Severity.RESET,),
        "no uncorrected ECC error since the driver was loaded",
        "reset the GPU ('nvidia-smi -r -i GPU') or reboot; replace the instance if it comes back",
        _MEMORY,
    ),
    Check(
        "ecc-aggregate",
        (Severity.MONITOR,),
        "no uncorrected ECC error in the GPU's life",
        "nothing now: the rows were replaced; watch whether the count grows",
        _MEMORY,
    ),
    Check(
        "ecc-sram-threshold",
        (Severity.REPLACE,),
        "the GPU's threshold of SRAM errors is not exceeded",
        _REPLACE,
        "NVIDIA, Xid catalog, Xid 48: the return flow follows when the flag is set; read 2026-11-28",
    ),
    Check(
        "row-remap-pending",
        (Severity.RESET,),
        "no row of memory waits for its replacement",
        "reset the GPU: the replacement takes effect then",
        _MEMORY,
    ),
    Check(
        "row-remap-failure",
        (Severity.REPLACE,),
        "no replacement of a row of memory failed",
        _REPLACE,
        _MEMORY,
    ),
    Check(
        "row-remap-uncorrectable",
        (Severity.MONITOR,),
        "no row was replaced after an uncorrectable error",
        "nothing now; watch whether the count grows",
        _MEMORY,
    ),
    Check(
        "retired-pages-pending",
        (Severity.RESET,),
        "no page of memory waits for its retirement (GPUs before Ampere)",
        "reset the GPU or reload the driver: the page is retired then",
        "NVIDIA, Dynamic Page Retirement, read 2026-11-28",
    ),
    Check(
        "xid",
        (
            Severity.MONITOR,
            Severity.ERROR,
            Severity.RESET,
            Severity.REBOOT,
            Severity.ISOLATE,
        ),
        "the kernel log of the last minutes has no Xid of the GPUs",
        "follow NVIDIA's action for this Xid",
        _XID,
    ),
    Check(
        "sxid",
        (Severity.MONITOR, Severity.ERROR, Severity.RESET),
        "the kernel log of the last minutes has no SXid of the NVSwitches",
        "reset all GPUs of the node together, or reboot it",
        "the message's own word, Fatal or Non-fatal; the reset is our choice",
    ),
    Check(
        "neuron-kernel",
        (Severity.ERROR, Severity.REBOOT, Severity.REPLACE),
        "the kernel log of the last minutes has no hardware error of Neuron devices",
        "do what the line's 'action' says",
        _NEURON,
    ),
    Check(
        "fabric-manager",
        (Severity.ERROR, Severity.RESET),
        "the service nvidia-fabricmanager runs where NVSwitches are",
        "'systemctl restart nvidia-fabricmanager', then reset the GPUs or reboot",
        _EKS + " (FabricManagerNotRunning); the reset is our choice",
    ),
    Check(
        "throttle",
        (Severity.MONITOR, Severity.ISOLATE),
        "no GPU lowers its clocks for heat or power",
        "if no job runs, the host's cooling or power is bad: " + _SUPPORT,
        _EKS
        + " (thermal and power: an event); isolation of a GPU that hardware slows in each of three samples is ours",
    ),
    Check(
        "pcie-width",
        (Severity.MONITOR, Severity.REBOOT),
        "each GPU's PCIe link has its full width, or at least that of the node's other GPUs",
        "compare with other nodes of the type; if they are wider, reboot the node, and replace the instance if the "
        "link stays narrow",
        _OURS + "; a width that all GPUs of a node have is to watch: G6 connects 8 of an L4's 16 lanes "
        "(aws/aws-parallelcluster-cookbook, pull request 2803)",
    ),
    Check(
        "pcie-speed",
        (Severity.MONITOR,),
        "each GPU's PCIe link has its full generation",
        "measure under load: an idle GPU lowers the generation",
        _OURS,
    ),
    Check(
        "nvlink-topology",
        (Severity.ISOLATE,),
        "every pair of GPUs is connected by as many NVLinks as the type has",
        _SUPPORT,
        _OURS,
    ),
    Check(
        "nvlink-state",
        (Severity.ISOLATE,),
        "every NVLink is active",
        _SUPPORT,
        _OURS,
    ),
    Check(
        "nvlink-errors",
        (Severity.MONITOR,),
        "no NVLink had to replay, recover or count a CRC error",
        "watch whether the counts grow under load",
        _OURS + ": no source states a threshold",
    ),
    Check(
        "efa-pci",
        (Severity.ISOLATE,),
        "as many EFA devices on the PCI bus as the type has, or as --efa says",
        "compare the launch template's interfaces with the type; if they agree, replace the instance",
        _OURS,
    ),
    Check(
        "efa-driver",
        (Severity.REBOOT,),
        "the efa driver has all EFA devices of the PCI bus",
        "'modinfo efa' and 'dmesg | grep efa'; reboot the node",
        _OURS,
    ),
    Check(
        "efa-link",
        (Severity.REBOOT,),
        "every port of an EFA device is active",
        "reboot the node; replace the instance if the port stays down",
        _OURS,
    ),
    Check(
        "efa-provider",
        (Severity.ISOLATE,),
        "libfabric finds a domain of the efa provider on each device",
        "'fi_info -p efa' tells why; locked memory must be unlimited ('ulimit -l')",
        _OURS,
    ),
    Check(
        "efa-loopback",
        (Severity.REBOOT,),
        "fi_pingpong passes data through each EFA domain to itself",
        "reboot the node; replace the instance if the domain fails again",
        _OURS,
    ),
    Check(
        "dcgm",
        (Severity.MONITOR, Severity.ERROR, Severity.RESET, Severity.ISOLATE),
        "all tests of 'dcgmi diag' pass",
        "do what the test's message says",
        _DCGM,
    ),
    Check(
        "all-reduce",
        (Severity.ISOLATE,),
        "all_reduce_perf runs over all GPUs of the node, with right sums",
        "read its output; with wrong sums, replace the instance",
        _OURS,
    ),
    Check(
        "all-reduce-bandwidth",
        (Severity.OK, Severity.MONITOR),
        "the bus bandwidth of all_reduce_perf is not below --min-busbw, where that is given",
        "compare with other nodes of the type",
        _OURS + ": figures of one node are published for one type alone, so none is built in",
    ),
    Check(
        "neuron-count",
        (Severity.REPLACE,),
        "neuron-ls lists as many devices as the type has, each with its memory and cores",
        _REPLACE,
        _OURS,
    ),
    Check(
        "neuron-answers",
        (Severity.REBOOT,),
        "neuron-ls answers",
        "reload the driver ('modprobe neuron') or reboot the node",
        _OURS,
    ),
    Check(
        "neuron-ecc",
        (Severity.REBOOT, Severity.REPLACE),
        "no uncorrectable memory error of a Neuron device",
        "replace the instance; a repairable error of HBM needs a reboot only",
        _NEURON,
    ),
    Check(
        "disk-full",
        (Severity.MONITOR, Severity.ISOLATE),
        "local file systems are at most 95 % full (a warning), and never 99 %, by bytes and by files",
        "remove what jobs left, or make the volume larger",
        _OURS,
    ),
    Check(
        "disk-read-only",
        (Severity.REBOOT,),
        "local file systems can be written",
        "'dmesg' has the error of the disk; reboot, and replace the instance if it comes back",
        _OURS + ": ext4 and XFS turn read-only after errors",
    ),
    Check(
        "local-disks",
        (Severity.MONITOR,),
        "the NVMe disks of the host are as many as the type has",
        "stop and start the instance or replace it: its host lost a disk",
        _OURS + ": not tried on each type, so no node is drained for it",
    ),
    Check(
        "shared-mount",
        (Severity.ERROR, Severity.REBOOT),
        "every shared file system answers in time (else an error: its server may be at fault) and without a fault, and "
        "those of --mount are mounted",
        "look whether other nodes wait too: then it is the server; else 'mount' and the client's log tell why, and a "
        "reboot mounts it again",
        _OURS,
    ),
)

CHECKS = {check.name: check for check in _ALL}
"""Every check by its name."""
