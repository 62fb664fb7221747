"""The directory server's calls of AWS, against moto: its volume, its downloads, its name, its signal."""

from __future__ import annotations

import importlib.util
import json
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
from moto import mock_aws

from trainforge.programs import DIRECTORY_SERVER

REGION = "us-west-2"
BUCKET = "sagemaker-demo"
HOST = "ldap.demo.internal"


@pytest.fixture(scope="module")
def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("directory_machine", DIRECTORY_SERVER / "machine.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    # A dataclass looks its own module up.
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def machine(module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yield a machine in a moto account that has what the stack makes."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        ec2 = boto3.client("ec2", REGION)
        image = ec2.describe_images()["Images"][0]["ImageId"]
        started = ec2.run_instances(ImageId=image, MinCount=2, MaxCount=2, InstanceType="t3.small")
        own, other = (instance["InstanceId"] for instance in started["Instances"])
        volume = ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=8)["VolumeId"]
        zone = boto3.client("route53", REGION).create_hosted_zone(Name="demo.internal", CallerReference="1")
        manager = boto3.client("secretsmanager", REGION)
        boto3.client("s3", REGION).create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        settings = {
            "region": REGION,
            "bucket": BUCKET,
            "configuration_key": "directory/configuration/directory.json",
            "authority_key": "directory/published/ca.pem",
            "volume_id": volume,
            "hosted_zone_id": zone["HostedZone"]["Id"],
            "host": HOST,
            "reader_secret": manager.create_secret(Name="reader", SecretString="w0rd")["ARN"],
            "stack": "demo-directory",
            "resource": "DirectoryServers",
        }
        facts = {"instance-id": own, "local-ipv4": "10.1.0.9"}
        made = module.Machine(settings, tmp_path / "input", tmp_path / "volume", facts.__getitem__)
        made.other = other
        made.facts = facts
        (tmp_path / "volume" / "tls").mkdir(parents=True)
        (tmp_path / "volume" / "tls" / "ca.pem").write_text("certificate")
        yield made


def test_it_takes_its_volume_once(
    machine: Any, monkeypatch: pytest.MonkeyPatch, module: ModuleType, tmp_path: Path
) -> None:
    monkeypatch.setattr(module.Path, "exists", lambda _path: True)
    device = machine.attach(poll_seconds=0)
    serial = machine.settings["volume_id"].replace("-", "")
    assert device == f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{serial}"
    assert machine.attach(poll_seconds=0) == device
    ec2 = boto3.client("ec2", REGION)
    [held] = ec2.describe_volumes(VolumeIds=[machine.settings["volume_id"]])["Volumes"][0]["Attachments"]
    assert held["InstanceId"] == machine.facts["instance-id"]


def test_it_waits_for_the_server_that_has_the_volume_and_gives_up_with_a_message(
    machine: Any, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    ec2 = boto3.client("ec2", REGION)
    ec2.attach_volume(VolumeId=machine.settings["volume_id"], InstanceId=machine.other, Device="/dev/sdf")
    monkeypatch.setattr(module, "_VOLUME_SECONDS", 0.0)
    with pytest.raises(module.MachineError, match=f"attached to {machine.other}"):
        machine.attach(poll_seconds=0)


def test_a_volume_that_is_being_attached_is_not_taken_for_attached(
    machine: Any, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EC2 names the instance from the first moment; a device appears when the attachment is done."""
    states = ["attaching", "busy", "attached"]

    class Ec2:
        def describe_volumes(self, VolumeIds: list[str]) -> dict[str, Any]:  # the API's name
            assert VolumeIds == [machine.settings["volume_id"]]
            attachment = {"InstanceId": machine.facts["instance-id"], "State": states.pop(0)}
            return {"Volumes": [{"State": "in-use", "Attachments": [attachment]}]}

        def attach_volume(self, **given: str) -> None:
            raise AssertionError(f"it has the volume already: {given}")

    monkeypatch.setattr(machine, "client", lambda _service: Ec2())
    monkeypatch.setattr(module.Path, "exists", lambda _path: True)
    assert machine.attach(poll_seconds=0).startswith("/dev/disk/by-id/")
    assert states == [], "the device is looked for when the volume is attached, and not before"


def test_what_it_fetches_is_for_root_alone(machine: Any) -> None:
    s3 = boto3.client("s3", REGION)
    s3.put_object(Bucket=BUCKET, Key=machine.settings["configuration_key"], Body=b'{"host": "x"}')
    machine.fetch()
    assert json.loads((machine.given / "directory.json").read_text()) == {"host": "x"}
    assert (machine.given / "reader-password").read_text() == "w0rd"
    assert not (machine.given / "certificate.json").exists()
    assert stat.S_IMODE(machine.given.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in machine.given.iterdir()} == {0o600}
    given = boto3.client("secretsmanager", REGION).create_secret(Name="tls", SecretString='{"ca": "c"}')
    machine.settings["certificate_secret"] = given["ARN"]
    machine.fetch()
    assert json.loads((machine.given / "certificate.json").read_text()) == {"ca": "c"}


def test_its_name_and_its_authority_are_published_once(
    machine: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.publish()
    told = capsys.readouterr().out
    assert told.count("changed: ") == 2
    route53 = boto3.client("route53", REGION)

    def addresses() -> list[str]:
        zone = machine.settings["hosted_zone_id"]
        records = route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
        return [
            value["Value"]
            for record in records
            if record["Name"] == f"{HOST}."
            for value in record["ResourceRecords"]
        ]

    assert addresses() == ["10.1.0.9"]
    body = boto3.client("s3", REGION).get_object(Bucket=BUCKET, Key="directory/published/ca.pem")["Body"]
    assert body.read() == b"certificate"
    machine.publish()
    assert capsys.readouterr().out == ""
    machine.facts["local-ipv4"] = "10.1.0.10"
    machine.publish()
    assert addresses() == ["10.1.0.10"]


def test_a_signal_without_a_waiting_stack_is_no_error(
    machine: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sent: list[dict[str, str]] = []
    client = boto3.client("cloudformation", REGION)

    def signal(**given: str) -> None:
        sent.append(given)
        raise client.exceptions.ClientError(
            {"Error": {"Code": "ValidationError", "Message": "not waiting"}}, "x"
        )

    monkeypatch.setattr(client, "signal_resource", signal)
    monkeypatch.setattr(machine, "client", lambda _service: client)
    machine.signal("SUCCESS")
    assert sent[0]["LogicalResourceId"] == "DirectoryServers"
    assert "takes no signal" in capsys.readouterr().out


def test_an_unknown_argument_is_reported(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "server.json").write_text("{}")
    monkeypatch.setenv("SERVER", str(tmp_path / "server.json"))
    assert module.main(["detach"]) == 1
    assert "attach, fetch, publish, signal" in capsys.readouterr().err
