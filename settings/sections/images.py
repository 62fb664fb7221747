"""Settings of machine images: pipelines that build them, and the image that the nodes of a cluster start from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from catalog.image_builder import BUILD_SCHEDULE, MIN_KEPT
from settings.sections.model import Model


class MachineImageSettings(Model):
    """A machine image of your own, which a pipeline of EC2 Image Builder builds on a schedule."""

    playbook: str
    """Name of the playbook that makes it, such as parallelcluster-gpu (docs/machine-images.md)."""
    system: Literal["ubuntu", "amazon-linux"] = "ubuntu"
    """Operating system: Ubuntu 24.04 or Amazon Linux 2023; for hyperpod that of the parent."""
    parent: str | None = None
    """Image to build on, `ami-...`; absent: the newest of the playbook's parent, where AWS has a public parameter."""
    instance_type: str | None = None
    """EC2 instance type that builds and tests it; absent: the playbook's."""
    schedule: str | None = Field(default="cron(0 4 1 * ? *)", pattern=BUILD_SCHEDULE)
    """Times of builds in UTC, as cron(minute hour day month weekday year) with '?' for one of the days, or as
    rate(7 days); null: none but those that you start."""
    keep: int = Field(default=3, ge=MIN_KEPT, le=1000)
    """Newest images that are kept; older ones are deleted with their snapshots."""
    keep_launched_days: int = Field(default=90, ge=1, le=365)
    """An image that an instance was started from in these days is not deleted, however old it is."""
    scan: bool = True
    """Has Amazon Inspector scan the test instance; Inspector must be active for EC2 in the account."""


class NodeImageSettings(Model):
    """The machine image of a cluster's nodes: one of the section `images`, or one by its id."""

    source: str | None = Field(default=None, alias="from")
    """Name of an image of the section `images`."""
    ami_id: str | None = None
    """An image of your own by its id (`ami-...`) in place of `from`, such as one that Packer built."""
    version: int | None = Field(default=None, ge=1)
    """Version of its SSM parameter, which Image Builder raises by one with each image; the one before is the way
    back. Absent: the newest image whenever the stack is deployed."""
