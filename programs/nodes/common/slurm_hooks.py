"""The folders whose files Slurm runs before and after each job of a node, by the service that configures Slurm."""

from __future__ import annotations

from dataclasses import dataclass

from .node import Node


@dataclass(frozen=True)
class HookFolders:
    """The folders of Slurm's Prolog and Epilog; `owned` is true where we may make them, as the service reads them."""

    prolog: str
    epilog: str
    owned: bool

    def ensure(self, node: Node, name: str, prolog: str, epilog: str) -> bool:
        """Write a hook into both; return whether the node has the folders."""
        folders = {self.prolog: prolog, self.epilog: epilog}
        for folder in folders:
            if self.owned:
                node.ensure_directory(folder.rpartition("/")[0], 0o755)
                node.ensure_directory(folder, 0o755)
            elif not node.path(folder).is_dir():
                node.log(f"WARNING: '{folder}' is not there, so Slurm runs nothing of ours around jobs")
                return False
        for folder, text in folders.items():
            node.write_file(f"{folder}/{name}", text, 0o755)
        return True


PARALLELCLUSTER = HookFolders(
    "/opt/slurm/etc/scripts/prolog.d", "/opt/slurm/etc/scripts/epilog.d", owned=True
)
"""Its Prolog and Epilog are all files of these folders, which all nodes see (ParallelCluster guide, "Slurm prolog and
epilog")."""

HYPERPOD = HookFolders("/opt/slurm/etc/prolog.d", "/opt/slurm/etc/epilog.d", owned=False)
"""The folders of HyperPod's image, each node's own, which HyperPod itself sets up with OnInitComplete
(awslabs/awsome-distributed-ai, 5.sagemaker-hyperpod/Extensions/observability/README.md, commit 95b939c). An older image
may lack them; a folder that we made there would be one that slurm.conf does not name."""

HYPERPOD_JOB_MAP = "/opt/slurm/etc/prolog.d/700_dcgm_job_map_register.sh"
HYPERPOD_GPU_JOBS = "/run/slurm/dcgm-job-mapping"
"""HyperPod's own hook that writes which job has which GPU, and the folder that it writes to (the same README)."""
