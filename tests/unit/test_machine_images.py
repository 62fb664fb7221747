"""Machine images: the playbooks and templates agree with the catalog, and nothing is fetched past a check."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalog.instances import instance
from catalog.machine_images import (
    DOWNLOADS,
    MACHINE_IMAGES,
    REPOSITORIES,
    SOURCES,
    Download,
    MachineImage,
    unrecorded,
)
from catalog.versions import AWS_CLI, Pin
from machine_images import __main__ as command
from machine_images import downloads, lock, packer
from tests.programs import ROOT

IMAGES = ROOT / "machine_images"
ROLES = IMAGES / "roles"
# Roles that others include.
PARTS = {"download", "source_tree", "vendor_repository"}
TASKS = sorted(ROLES.glob("*/*/*.yml"))
VERSION = re.compile(r"\b\d+\.\d+\.\d+(?:\.\d+)?\b")


def playbook(path: Path) -> list[str]:
    """Return the roles of a playbook in their order."""
    (play,) = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert play["become"] is True
    return [role if isinstance(role, str) else role["role"] for role in play["roles"]]


def test_the_committed_files_agree_with_the_catalog() -> None:
    assert [path.name for path in command.stale()] == [], "run 'make machine-images'"


def test_a_stale_or_foreign_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(packer, "FOLDER", tmp_path)
    monkeypatch.setattr(lock, "LOCK", tmp_path / "lock.yml")
    assert command.main(["write"]) == 0
    assert command.main(["check"]) == 0
    (tmp_path / "lock.yml").write_text(lock.text().replace(AWS_CLI, "0.0.1"), encoding="utf-8")
    (tmp_path / "gone.pkr.json").write_text("{}", encoding="utf-8")
    assert command.main(["check"]) == 1
    said = capsys.readouterr().out
    assert "lock.yml differs from the catalog: 'make machine-images' writes it\n" in said
    assert "gone.pkr.json differs" in said


def test_an_unknown_image_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["name", "ec3"]) == 2
    assert (
        "machine image 'ec3' is not in the catalog (there are parallelcluster-cpu, "
        in capsys.readouterr().out
    )


def test_every_image_has_a_playbook_and_every_role_is_used() -> None:
    playbooks = {path.stem: playbook(path) for path in IMAGES.glob("*.yml")}
    assert set(playbooks) == {image.name for image in MACHINE_IMAGES}
    used = {role for roles in playbooks.values() for role in roles}
    # ParallelCluster's Neuron image and 'ec2' together have all of them.
    assert used | PARTS == {path.name for path in ROLES.iterdir()}
    for roles in playbooks.values():
        assert roles[:2] == ["base", "packages"]
        assert roles[-1] == "image_clean"


def test_the_test_of_roles_runs_all_in_an_order_that_the_playbooks_have_too() -> None:
    order = playbook(ROOT / "tests" / "machine_images" / "every_role.yml")
    assert {*order, *PARTS} == {path.name for path in ROLES.iterdir()}
    for path in IMAGES.glob("*.yml"):
        places = [order.index(role) for role in playbook(path)]
        assert places == sorted(places), path.name


@pytest.mark.parametrize("path", TASKS, ids=lambda path: path.relative_to(ROLES).as_posix())
def test_roles_take_versions_from_the_lock_and_fetch_through_what_verifies(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    assert VERSION.findall(code) == []
    assert "http://" not in code
    assert "https://" not in code
    assert "validate_certs" not in code
    assert "disable_gpg_check" not in code
    assert "allow_unauthenticated" not in code
    if path.parts[-3] not in PARTS:
        assert "get_url" not in code
        assert "ansible.builtin.git" not in code


def test_the_lock_names_what_the_catalog_has() -> None:
    values = lock.lock()
    assert set(values["downloads"]) == {download.name for download in DOWNLOADS}
    assert set(values["repositories"]) == {repository.name for repository in REPOSITORIES}
    assert set(values["sources"]) == {source.name for source in SOURCES}
    for repository in REPOSITORIES:
        assert re.fullmatch(r"[0-9A-F]{40}", repository.key)
        assert repository.key_url.startswith("https://")
        assert repository.apt.startswith("https://")
    for source in SOURCES:
        assert re.fullmatch(r"[0-9a-f]{40}", source.commit)
    for download in DOWNLOADS:
        assert download.url.startswith("https://")
        assert download.version in download.url
        assert re.fullmatch(r"([0-9a-f]{64})?", download.sha256)


def test_what_nothing_verifies_yet_is_listed_in_the_guide() -> None:
    """The list is short, and leaves it when a digest is recorded."""
    page = (ROOT / "docs" / "machine-images.md").read_text(encoding="utf-8")
    section = page.split("## Downloads that nothing verifies yet\n")[1].split("\n## ")[0]
    listed = re.findall(r"^- `(\w+)`", section, re.MULTILINE)
    assert listed == [line.split("'")[1] for line in unrecorded()]


def a_download(tmp_path: Path, **values: Any) -> Download:
    file = tmp_path / "file"
    file.write_bytes(b"content\n")
    return Download("tool", Pin("tool", "1", "this test"), file.as_uri(), **values)


def records(tmp_path: Path) -> Path:
    path = tmp_path / "downloads.json"
    path.write_text('{"about": "", "sha256": {}, "sources": {}}', encoding="utf-8")
    return path


DIGEST = "434728a410a78f56fc1b5899c3593436e61ab0c731e9072d95e96db290205e53"


def test_a_digest_is_recorded_once(tmp_path: Path) -> None:
    path = records(tmp_path)
    said = downloads.record([a_download(tmp_path)], path)
    assert said == [f"tool 1: recorded {DIGEST} (no signature was checked)"]
    data = json.loads(path.read_text())
    assert data["sha256"] == {"tool": DIGEST}
    assert "no signature was checked" in data["sources"]["tool"]
    assert downloads.record([a_download(tmp_path, sha256=DIGEST)], path) == [
        "tool 1: the file has the recorded digest"
    ]


def test_another_file_under_the_same_version_is_an_error_and_nothing_is_recorded(tmp_path: Path) -> None:
    path = records(tmp_path)
    first = a_download(tmp_path)
    other = a_download(tmp_path, sha256="0" * 64)
    absent = Download("gone", Pin("gone", "1", "this test"), (tmp_path / "absent").as_uri())
    with pytest.raises(downloads.DownloadError) as error:
        downloads.record([first, other, absent], path)
    assert f"has the digest {DIGEST}, and {'0' * 64} is recorded" in str(error.value)
    assert "absent' cannot be read" in str(error.value)
    assert json.loads(path.read_text())["sha256"] == {}


@pytest.mark.parametrize("image", MACHINE_IMAGES, ids=lambda image: image.name)
def test_a_packer_template_builds_without_an_open_port(image: MachineImage) -> None:
    template = json.loads(packer.path(image).read_text(encoding="utf-8"))
    sources = template["source"]["amazon-ebs"]
    assert sources
    assert template["build"]["sources"] == [f"source.amazon-ebs.{name}" for name in sources]
    (provisioner,) = template["build"]["provisioner"]
    file = provisioner["ansible"]["playbook_file"].replace("${path.root}", str(packer.FOLDER))
    assert Path(file).resolve() == IMAGES / f"{image.name}.yml"
    for source in sources.values():
        assert source["ssh_interface"] == "session_manager"
        assert not {
            "security_group_id",
            "temporary_security_group_source_cidrs",
            "associate_public_ip_address",
        } & set(source)
        assert source["metadata_options"]["http_tokens"] == "required"
        assert source["imds_support"] == "v2.0"
        assert source["encrypt_boot"] is image.encrypted
        assert ("source_ami" in source) != ("source_ami_filter" in source)
        used = set(re.findall(r"\$\{var\.(\w+)\}", json.dumps(source)))
        assert used == set(template["variable"])
    assert instance(image.instance_type).vcpus >= 8


def test_hyperpod_takes_unencrypted_images_only() -> None:
    assert [image.name for image in MACHINE_IMAGES if not image.encrypted] == ["hyperpod"]


def test_plugins_of_packer_are_of_one_version_each() -> None:
    for image in MACHINE_IMAGES:
        plugins = packer.template(image)["packer"]["required_plugins"]
        assert all(re.fullmatch(r"= \d+\.\d+\.\d+", plugin["version"]) for plugin in plugins.values())
