"""The choice of the backend that submits a manifest, by its format."""

from __future__ import annotations

from catalog.cluster_info import ClusterInfo
from cli.submit.submission import Submission
from workloads.spec import Format, Run


def submission(run: Run, format_: Format, info: ClusterInfo, text: str, *, share: str = "") -> Submission:
    """Return how the manifest of a run is submitted to a cluster. Nothing is sent yet. `share` is for Batch alone."""
    match format_:
        case Format.SLURM:
            from cli.submit.slurm import slurm_submission

            return slurm_submission(run, info, text)
        case Format.BATCH:
            from cli.submit.batch import batch_submission

            return batch_submission(run, info, share)
        case Format.LOCAL:
            from cli.submit.local import local_submission

            return local_submission(run, info, text)
        case _:
            from cli.submit.kubernetes import kubernetes_submission

            return kubernetes_submission(run, info, text)
