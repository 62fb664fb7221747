"""The images of our exporters on a Kubernetes cluster: one for each processor architecture that needs it."""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from constructs import Construct

from catalog.instance_facts import Architecture
from trainforge.exporters import image_context
from trainforge.workload_image import WorkloadImage

_IDS: dict[Architecture, str] = {"x86_64": "ExportersImage", "arm64": "ExportersImageArm"}


class ExporterImages(Construct):
    """Images of the exporters, each built when it is first asked for."""

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        self._images: dict[Architecture, WorkloadImage] = {}

    def uri(self, architecture: Architecture) -> str:
        """Return the image for nodes of this architecture."""
        if architecture not in self._images:
            self._images[architecture] = WorkloadImage(
                self, _IDS[architecture], context=image_context(), architecture=architecture
            )
        return self._images[architecture].image_uri

    def grant_pull(self, nodes: iam.Role | iam.ManagedPolicy) -> None:
        """Let nodes pull the images that were asked for."""
        for image in self._images.values():
            image.grant_pull(nodes)
