"""Machine images: the playbooks and templates agree with the catalog, and nothing is fetched past a check."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import jinja2
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
from machine_images import downloads, lock, packer, payload
from tests.machine_images.vendors import SOURCES as FAKE_SOURCES
from tests.programs import ROOT, require_program

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
        assert roles[-2:] == ["sbom", "image_clean"]


def test_the_bill_of_an_image_has_its_name() -> None:
    for path in IMAGES.glob("*.yml"):
        assert f"    - role: sbom\n      sbom_name: {path.stem}\n" in path.read_text(encoding="utf-8")
    sources = {path.name for path in (ROOT / "workloads" / "runtime" / "software").glob("*.py")}
    assert {f"software/software/{name}" for name in sources} <= set(payload.members())


def test_the_test_of_roles_runs_all_in_an_order_that_the_playbooks_have_too() -> None:
    order = playbook(ROOT / "tests" / "machine_images" / "every_role.yml")
    assert {*order, *PARTS} == {path.name for path in ROLES.iterdir()}
    for path in IMAGES.glob("*.yml"):
        places = [order.index(role) for role in playbook(path)]
        assert places == sorted(places), path.name


def test_the_module_of_efa_for_gpus_is_built_after_the_driver() -> None:
    """Its build takes the symbols of the driver's source, where that is there."""
    found = [roles for roles in map(playbook, IMAGES.glob("*.yml")) if {"efa", "nvidia_driver"} <= {*roles}]
    assert len(found) == 3
    assert all(roles.index("nvidia_driver") < roles.index("efa") for roles in found)


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


def commands_of_make() -> list[tuple[str, str, list[str]]]:
    """Return file, source tree and words of each call of make in a role; a template's value is 'X'."""
    pattern = re.compile(r"cmd: (?:>-\n\s+)?make (.+?)\n\s+chdir: \S+/(\w+)", re.DOTALL)
    return [
        (path.relative_to(ROLES).as_posix(), tree, shlex.split(re.sub(r"\{\{.*?\}\}", "X", words)))
        for path in TASKS
        for words, tree in pattern.findall(path.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize(("path", "tree", "words"), commands_of_make())
def test_roles_call_make_as_the_source_takes_it(path: str, tree: str, words: list[str]) -> None:
    """Targets exist, and no variable is given on the command line that the Makefile adds to with `:=`."""
    makefile = FAKE_SOURCES[tree]["Makefile"]
    targets = {
        name for line in re.findall(r"^([\w ]+):(?!=)", makefile, re.MULTILINE) for name in line.split()
    }
    assigned = set(re.findall(r"^(\w+) :=", makefile, re.MULTILINE))
    # 'X' is the number of jobs.
    plain = {word for word in words if "=" not in word and not word.startswith("-") and word != "X"}
    assert plain <= targets
    assert not {word.partition("=")[0] for word in words if "=" in word} & assigned


def test_the_calls_of_make_are_found() -> None:
    assert {tree for _, tree, _ in commands_of_make()} == set(FAKE_SOURCES)


@pytest.mark.parametrize(
    ("kernel", "name"),
    [
        ("6.1.180-225.360.amzn2023.x86_64", "kernel"),
        ("6.12.100-125.179.amzn2023.x86_64", "kernel6.12"),
        ("6.18.41-94.142.amzn2023.x86_64", "kernel6.18"),
    ],
)
def test_packages_of_amazon_linux_kernels_have_the_series_in_their_names(kernel: str, name: str) -> None:
    """Kernels of Amazon Linux 2023's release notes for 2023.12.20260817."""
    words = yaml.safe_load((ROLES / "packages" / "vars" / "main.yml").read_text("utf-8"))
    series = jinja2.Template(words["packages_kernel_series"]).render(ansible_facts={"kernel": kernel})
    assert jinja2.Template(words["packages_kernel_redhat"]).render(packages_kernel_series=series) == name


def test_gpg_with_an_agent_may_replace_the_minimal_one_of_amazon_linux() -> None:
    tasks = yaml.safe_load((ROLES / "packages" / "tasks" / "main.yml").read_text("utf-8"))
    [block] = [one["block"] for one in tasks if "Amazon Linux" in one["name"]]
    [task] = [one for one in block if one["name"] == "Install packages"]
    assert task["ansible.builtin.dnf"]["allowerasing"] is True


def a_signed_file(folder: Path, expires: str) -> tuple[Path, str]:
    """Write a file of 2020, its signature and its key, which is valid so long, and return the fingerprint."""
    require_program("gpg", "install the Debian package gpg")
    home = folder / "gnupg"
    home.mkdir(mode=0o700)
    file = folder / "file"
    file.write_text("content\n")
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--faked-system-time", "20200101T000000!"]

    def run(*words: str) -> bytes:
        done = subprocess.run([*gpg, "--passphrase", "", *words], check=True, capture_output=True)
        return done.stdout

    try:
        run("--quick-generate-key", "vendor <nobody@example.com>", "ed25519", "sign", expires)
        run("--output", f"{file}.sig", "--detach-sign", str(file))
        Path(f"{file}.key").write_bytes(run("--export"))
        lines = run("--list-keys", "--with-colons").decode().splitlines()
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)
    return file, next(line.split(":")[9] for line in lines if line.startswith("fpr:"))


@pytest.mark.parametrize(("expires", "taken"), [("never", True), ("1d", False)])
def test_a_signature_by_a_key_that_expired_is_refused(tmp_path: Path, expires: str, taken: bool) -> None:
    file, fingerprint = a_signed_file(tmp_path, expires)
    script = ROLES / "download" / "files" / "verify_signature.sh"
    command = ["/bin/sh", str(script), str(file), fingerprint]
    # Not below the test's own folder: the path of gpg's socket has 107 characters at most.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is taken, done.stderr
    # A refused file's signature and key are not kept for the next try.
    left = {path.name for path in tmp_path.glob("file*")}
    assert left == ({"file", "file.sig", "file.key"} if taken else set())


def test_the_lock_names_what_the_catalog_has() -> None:
    values = lock.lock()
    assert set(values["downloads"]) == {download.name for download in DOWNLOADS}
    assert set(values["repositories"]) == {repository.name for repository in REPOSITORIES}
    assert set(values["sources"]) == {source.name for source in SOURCES}
    for repository in REPOSITORIES:
        assert re.fullmatch(r"[0-9A-F]{40}", repository.key)
        assert repository.key_url.startswith("https://")
        assert repository.apt.startswith("https://")
        entry = values["repositories"][repository.name]
        assert re.fullmatch(r"[0-9A-F]{40}", entry["dnf_key"])
        # NVIDIA names the file of a key by the last digits of its fingerprint, in the folder of what it signs.
        for key, url in ((entry["key"], entry["key_url"]), (entry["dnf_key"], entry["dnf_key_url"])):
            file = url.rpartition("/")[2].removesuffix(".pub")
            assert repository.name != "cuda" or key.endswith(file.upper())
        assert repository.name != "cuda" or entry["dnf_key_url"].startswith(entry["dnf"])
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
    # Packer's session takes one connection, so that Ansible connects by one of its own, to the instance's id.
    line = provisioner["ansible"]["inventory_file_template"]
    assert provisioner["ansible"]["use_proxy"] is False
    alias, *settings = shlex.split(re.sub(r"\{\{ \.(\w+) \}\}", r"\1", line))
    given = dict(word.split("=", 1) for word in settings)
    assert (alias, given["ansible_host"], given["ansible_user"]) == ("HostAlias", "ID", "User")
    [proxy] = [
        word for word in shlex.split(given["ansible_ssh_common_args"]) if word.startswith("ProxyCommand=")
    ]
    assert shlex.split(proxy.partition("=")[2])[:3] == ["aws", "ssm", "start-session"]
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
