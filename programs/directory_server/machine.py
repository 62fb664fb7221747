"""The directory server's calls of AWS: attach its volume, fetch its configuration, publish its address.

`machine.py attach|fetch|publish|signal STATUS`, with the settings in `server.json`. Needs boto3 (Ubuntu's
python3-boto3)."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

_METADATA = "http://169.254.169.254/latest"
_VOLUME_SECONDS = 900.0
"""Seconds until a volume must be free: the server before this one is shut down first."""
_DEVICE = "/dev/sdf"
_TTL_SECONDS = 60


class MachineError(Exception):
    """A step of the server's set-up failed; the text is the reason."""


@dataclass
class Machine:
    """This machine: its settings, the folder that its input goes to, and the address of its metadata."""

    settings: dict[str, str]
    given: Path
    directory: Path
    metadata: Callable[[str], str]

    def client(self, service: str) -> Any:
        """Return a client of a service in this machine's region."""
        return boto3.client(service, region_name=self.settings["region"])  # type: ignore[call-overload]

    def attach(self, poll_seconds: float = 5.0) -> str:
        """Attach the volume, waiting for the server that has it, and return its device.

        Raises:
            MachineError: it is not released, or does not appear.
        """
        ec2, volume = self.client("ec2"), self.settings["volume_id"]
        instance = self.metadata("instance-id")
        deadline = time.monotonic() + _VOLUME_SECONDS
        while True:
            found = ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]
            attachments = {held["InstanceId"]: held["State"] for held in found.get("Attachments", [])}
            # The volume is "in-use" from the first moment, its attachment "attaching" at first.
            if attachments == {instance: "attached"}:
                return self._device(volume, deadline, poll_seconds)
            if found["State"] == "available":
                ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device=_DEVICE)
            elif time.monotonic() > deadline:
                raise MachineError(
                    f"volume '{volume}' is attached to {', '.join(attachments)}, which does not release it"
                )
            time.sleep(poll_seconds)

    def _device(self, volume: str, deadline: float, poll_seconds: float) -> str:
        # Nitro instances name devices by themselves; udev links them by the volume's id.
        serial = volume.replace("-", "")
        link = Path(f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{serial}")
        while not link.exists():
            if time.monotonic() > deadline:
                raise MachineError(f"volume '{volume}' is attached and '{link}' does not appear")
            time.sleep(poll_seconds)
        return str(link)

    def fetch(self) -> None:
        """Write the configuration and the secrets to where only root reads them, which is no disk."""
        self.given.mkdir(mode=0o700, parents=True, exist_ok=True)
        answer = self.client("s3").get_object(
            Bucket=self.settings["bucket"], Key=self.settings["configuration_key"]
        )
        self._write("directory.json", answer["Body"].read())
        self._write("reader-password", self._secret("reader_secret").encode())
        if self.settings.get("certificate_secret"):
            self._write("certificate.json", self._secret("certificate_secret").encode())

    def _secret(self, key: str) -> str:
        manager = self.client("secretsmanager")
        value: str = manager.get_secret_value(SecretId=self.settings[key])["SecretString"]
        return value

    def _write(self, name: str, content: bytes) -> None:
        path = self.given / f".{name}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        path.replace(self.given / name)

    def publish(self) -> None:
        """Put the authority's certificate where nodes fetch it, and this machine's address behind the name."""
        self._publish_authority()
        address = self.metadata("local-ipv4")
        zone, host = self.settings["hosted_zone_id"], self.settings["host"]
        route53 = self.client("route53")
        record = {
            "Name": f"{host}.",
            "Type": "A",
            "TTL": _TTL_SECONDS,
            "ResourceRecords": [{"Value": address}],
        }
        present = route53.list_resource_record_sets(
            HostedZoneId=zone, StartRecordName=host, StartRecordType="A", MaxItems="1"
        )["ResourceRecordSets"]
        if present[:1] == [record]:
            return
        route53.change_resource_record_sets(
            HostedZoneId=zone,
            ChangeBatch={"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record}]},
        )
        _say(f"changed: '{host}' is {address}")

    def _publish_authority(self) -> None:
        s3 = self.client("s3")
        where = {"Bucket": self.settings["bucket"], "Key": self.settings["authority_key"]}
        content = (self.directory / "tls" / "ca.pem").read_bytes()
        try:
            if s3.get_object(**where)["Body"].read() == content:
                return
        except s3.exceptions.NoSuchKey:
            pass
        s3.put_object(**where, Body=content, ContentType="application/x-pem-file")
        _say(f"changed: authority's certificate put to 's3://{where['Bucket']}/{where['Key']}'")

    def signal(self, status: str) -> None:
        """Signal the result of the set-up to CloudFormation. When CloudFormation does not wait, that is no error."""
        cloudformation = self.client("cloudformation")
        try:
            cloudformation.signal_resource(
                StackName=self.settings["stack"],
                LogicalResourceId=self.settings["resource"],
                UniqueId=self.metadata("instance-id"),
                Status=status,
            )
        except cloudformation.exceptions.ClientError as error:
            _say(f"CloudFormation takes no signal: {error}")


def instance_metadata(path: str) -> str:
    """Return one fact from the instance metadata service, version 2."""
    request = urllib.request.Request(  # noqa: S310 a fixed address
        f"{_METADATA}/api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        token = answer.read().decode()
    request = urllib.request.Request(  # noqa: S310
        f"{_METADATA}/meta-data/{path}", headers={"X-aws-ec2-metadata-token": token}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        fact: str = answer.read().decode()
    return fact


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Run one command; return 1 and print the reason if it fails."""
    path = Path(os.environ.get("SERVER", "/etc/trainforge/directory-server.json"))
    machine = Machine(
        json.loads(path.read_text(encoding="utf-8")),
        Path(os.environ.get("INPUT", "/run/trainforge-directory")),
        Path(os.environ.get("DIRECTORY", "/var/lib/ldap")),
        instance_metadata,
    )
    try:
        match arguments:
            case ["attach"]:
                _say(machine.attach())
            case ["fetch"]:
                machine.fetch()
            case ["publish"]:
                machine.publish()
            case ["signal", ("SUCCESS" | "FAILURE") as status]:
                machine.signal(status)
            case _:
                raise MachineError(
                    f"arguments {arguments} are unknown: attach, fetch, publish, signal STATUS"
                )
    except MachineError as error:
        sys.stderr.write(f"failed: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
