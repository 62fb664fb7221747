"""The training runtimes that TrainJobs of ours run on: one for each time that a pod gets to save and stop."""

from __future__ import annotations

from typing import Any

from catalog.kubernetes import GRACE_SECONDS, torch_runtime_name

RESTARTS = 10
"""Restarts of all pods of a job before it has failed, as the other operators' jobs have it."""


def torch_runtimes() -> list[dict[str, Any]]:
    """Return the cluster's runtimes for PyTorch, that with the shortest grace first, which has Trainer's own name."""
    return [torch_runtime(seconds) for seconds in GRACE_SECONDS]


def torch_runtime(grace_seconds: int) -> dict[str, Any]:
    """Return a runtime for PyTorch: pods by torchrun's variables, started again together.

    Trainer's chart would make one by a job that fetches kubectl from the internet when it is installed, of an image
    that nothing pins; this one comes with the release. It names no image: a TrainJob of ours brings its own. Names of
    job, container and labels are what Trainer looks for (trainer 2.3, its own runtime of this name). A pod that fails
    ends the attempt of all: ranks that wait for a lost one do not notice.
    """
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "ClusterTrainingRuntime",
        "metadata": {
            "name": torch_runtime_name(grace_seconds),
            "labels": {"trainer.kubeflow.org/framework": "torch"},
        },
        "spec": {
            "mlPolicy": {"numNodes": 1, "torch": {}},
            "template": {
                "spec": {
                    "failurePolicy": {"maxRestarts": RESTARTS},
                    "replicatedJobs": [
                        {
                            "name": "node",
                            "template": {
                                "metadata": {
                                    "labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
                                },
                                "spec": {
                                    "backoffLimit": 0,
                                    "template": {
                                        "spec": {
                                            # A run needs no access to Kubernetes itself, and a patch cannot say so.
                                            "automountServiceAccountToken": False,
                                            "restartPolicy": "Never",
                                            # Not in the job's patch: Kueue 0.19 drops the field there.
                                            "terminationGracePeriodSeconds": grace_seconds,
                                            "containers": [{"name": "node"}],
                                        }
                                    },
                                },
                            },
                        }
                    ],
                }
            },
        },
    }
