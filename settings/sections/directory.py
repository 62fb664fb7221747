"""Settings of the directory: people and groups of every cluster, and the directory server."""

from __future__ import annotations

from pydantic import Field

from catalog.instances import DEFAULT_DIRECTORY_TYPE
from settings.sections.model import Model


class DirectoryUser(Model):
    """A person, with the same id on every node of every cluster."""

    name: str
    """Login name: lower case letters, digits, `_` and `-`, beginning with a letter or `_`."""
    uid: int = Field(ge=2000, le=60000)
    """User id, and id of the group of the same name; ids below 2000 are those of the images' own accounts."""
    full_name: str | None = None
    """The person's full name; by default the login name."""
    ssh_public_key: str | None = None
    """OpenSSH public key for logging in."""


class DirectoryGroup(Model):
    """A group of people."""

    name: str
    """Name of the group, formed as a login name is."""
    gid: int = Field(ge=2000, le=60000)
    """Id of the group; no other group's and no person's."""
    members: list[str] = []
    """Login names of the people in it."""


class DirectorySettings(Model):
    """An OpenLDAP server for people across nodes and clusters."""

    users: list[DirectoryUser] = Field(default=[], max_length=1000)
    """People. One who is taken out of the list loses the entry; the home stays."""
    groups: list[DirectoryGroup] = Field(default=[], max_length=1000)
    """Groups beside each person's own."""
    domain: str | None = None
    """Domain of the directory and of its private hosted zone; by default NAME.internal."""
    instance_type: str = DEFAULT_DIRECTORY_TYPE
    """EC2 instance type of the server, of the x86_64 architecture."""
    volume_gib: int = Field(default=8, ge=1, le=1024)
    """Size in GiB of the volume that holds the directory and outlives the server."""
    availability_zone: str | None = None
    """Zone of server and volume; by default the first of `availability_zones`."""
    certificate_secret_arn: str | None = None
    """ARN of a secret with `certificate`, `private_key` and `ca` in PEM; absent: an authority made on the server."""
    existing_volume_id: str | None = None
    """Id of a volume of an earlier directory, `vol-...`, in the server's zone; absent: a new one."""
