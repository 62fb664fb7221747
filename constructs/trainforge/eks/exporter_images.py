"""The images of our exporters on a Kubernetes cluster: one for each processor architecture that needs it."""

from __future__ import annotations

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

    @property
    def built(self) -> list[WorkloadImage]:
        """The images that were asked for."""
        return list(self._images.values())
