"""The custom action of ParallelCluster's nodes, run whole, as one downloaded file, on a folder like a node."""

from __future__ import annotations

import hashlib
import io
import os
import platform
import pwd
import re
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.programs import require_program, require_python
from tests.unit.cluster_node import CERTIFICATE, ClusterNode
from tests.unit.hyperpod_node import KEY
from tests.unit.node_folder import counts
from trainforge.parallelcluster.actions.archive import ENTRY, packed, revision
from trainforge.parallelcluster.services import CA_CERTIFICATE_PATH

SETTINGS: dict[str, Any] = {
    "containers": {"cache_path": "/fsx/enroot", "runtime_path": "/scratch/enroot"},
    "home_path": "/home",
    "mounts": ["/home", "/fsx"],
    "packages": ["htop"],
    "users": [{"name": "ana", "uid": 2001, "ssh_public_key": KEY, "sudo": True}],
}
PLUGSTACK = "/opt/slurm/etc/plugstack.conf"
OWN = "/opt/slurm/etc/plugstack.conf.d/pyxis.conf"
EXPORTER = "/opt/trainforge/bin/node_exporter-1.2.3"


@pytest.fixture
def node(tmp_path: Path) -> ClusterNode:
    return ClusterNode(tmp_path)


@pytest.fixture
def release() -> Iterator[Callable[[bytes], dict[str, Any]]]:
    """Return a function that serves a program as a release on loopback and returns its description for nodes."""
    served: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the base class's name
            content = served.get(self.path)
            self.send_response(200 if content else 404)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def serve(program: bytes) -> dict[str, Any]:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as members:
            member = tarfile.TarInfo("node_exporter-1.2.3.linux-x/node_exporter")
            member.size = len(program)
            members.addfile(member, io.BytesIO(program))
        content = archive.getvalue()
        architecture = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
        served[f"/v1.2.3/{architecture}"] = content
        return {
            "version": "1.2.3",
            "url": f"http://127.0.0.1:{server.server_port}/v{{version}}/{{architecture}}",
            "sha256": {platform.machine(): hashlib.sha256(content).hexdigest()},
        }

    yield serve
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("kind", ["HeadNode", "ComputeFleet", "LoginNode"])
def test_a_second_run_changes_nothing(
    tmp_path: Path, kind: str, release: Callable[[bytes], dict[str, Any]]
) -> None:
    node = ClusterNode(tmp_path, kind)
    if kind != "HeadNode":
        # What the head node has written into the folder that all nodes share.
        node.file(PLUGSTACK, f"include {OWN}\n")
    settings = SETTINGS | {"node_exporter": release(b"program")}
    first = node.run(settings)
    assert first.returncode == 0, first.stdout + first.stderr
    assert counts(first.stdout)["changed"] > 10
    before = node.snapshot()
    second = node.run(settings)
    assert (second.returncode, second.stderr) == (0, "")
    assert counts(second.stdout)["changed"] == 0, second.stdout
    assert node.snapshot() == before
    assert len(node.calls("scontrol")) == (1 if kind == "HeadNode" else 0)


def test_the_plugin_is_registered_on_the_head_node_only(tmp_path: Path) -> None:
    head, compute = ClusterNode(tmp_path / "a"), ClusterNode(tmp_path / "b", "ComputeFleet")
    assert head.run(SETTINGS).returncode == 0
    assert head.read(OWN) == "required /usr/local/lib/slurm/spank_pyxis.so runtime_path=/run/pyxis\n"
    assert head.read(PLUGSTACK) == f"include {OWN}\n"
    assert head.calls("scontrol") == ["scontrol reconfigure"]
    failed = compute.run(SETTINGS)
    assert failed.returncode == 1
    assert not (compute.root / OWN.lstrip("/")).exists()
    assert "pyxis is not loaded on this compute node" in failed.stderr


@pytest.mark.parametrize(
    "present",
    [
        "include /opt/slurm/etc/plugstack.conf.d/*\n",
        f"include {OWN}\n",
        "optional /other.so\nrequired /x/spank_pyxis.so\n",
    ],
)
def test_lines_that_load_it_already_stay_as_they_are(node: ClusterNode, present: str) -> None:
    node.file(PLUGSTACK, present)
    assert node.run(SETTINGS).returncode == 0
    assert node.read(PLUGSTACK) == present


def test_other_plugins_stay(node: ClusterNode) -> None:
    node.file(PLUGSTACK, "# include /opt/slurm/etc/plugstack.conf.d/*\noptional /other.so")
    assert node.run(SETTINGS).returncode == 0
    assert node.read(PLUGSTACK).splitlines()[1:] == ["optional /other.so", f"include {OWN}"]


def test_an_image_without_pyxis_is_reported_before_slurm_is_changed(node: ClusterNode) -> None:
    (node.root / "usr/local/lib/slurm/spank_pyxis.so").unlink()
    outcome = node.run(SETTINGS)
    assert outcome.returncode == 1
    assert "step 'pyxis': plugin '/usr/local/lib/slurm/spank_pyxis.so' is not on this image" in outcome.stderr
    assert not (node.root / PLUGSTACK.lstrip("/")).exists()


def enroot_reads(settings: str, name: str, **environment: str) -> str:
    """Return a setting as enroot takes it: evaluated by a shell, the first of several, a variable before all."""
    values = re.findall(rf"^{name}[ =\t]+(.*)$", settings, re.MULTILINE)
    done = subprocess.run(
        ["bash", "-uc", 'echo "${!1:-$(eval echo "$2")}"', "enroot", name, values[0]],
        env={"PATH": "/usr/bin:/bin"} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_containers_get_their_folders_and_settings(node: ClusterNode) -> None:
    assert node.run(SETTINGS).returncode == 0
    settings = node.read("/etc/enroot/enroot.conf")
    assert enroot_reads(settings, "ENROOT_CACHE_PATH") == f"/fsx/enroot/user-{os.getuid()}"
    assert enroot_reads(settings, "ENROOT_DATA_PATH") == f"/scratch/enroot/data/user-{os.getuid()}"
    assert node.read("/etc/sysctl.d/99-trainforge-user-namespaces.conf").endswith("= 0\n")
    assert len(node.calls("sysctl")) == 1


def test_enroot_looks_for_credentials_where_jobs_and_people_write_them(node: ClusterNode) -> None:
    """ParallelCluster's example names a folder of the node's own, and without credentials ECR gives no image."""
    assert node.run(SETTINGS).returncode == 0
    settings = node.read("/etc/enroot/enroot.conf")
    assert "ENROOT_CONFIG_PATH         /var/enroot/user-$(id -u)/config" in settings
    assert enroot_reads(settings, "ENROOT_CONFIG_PATH", HOME="/home/ana") == "/home/ana/.config/enroot"
    # pyxis' epilog has no HOME.
    home = pwd.getpwuid(os.getuid()).pw_dir
    assert enroot_reads(settings, "ENROOT_CONFIG_PATH") == f"{home}/.config/enroot"


@pytest.mark.parametrize(
    ("disks", "target"), [("s /scratch ext4 rw 0 0\n", "/scratch/enroot"), ("", "/var/lib/enroot")]
)
def test_imported_images_go_to_a_disk_and_not_into_memory(node: ClusterNode, disks: str, target: str) -> None:
    shared = "/dev/root / ext4 rw 0 0\nt /run tmpfs rw 0 0\ns /fsx lustre rw 0 0\ns /home nfs4 rw 0 0\n"
    node.file("/proc/self/mounts", shared + disks)
    # As slurmd leaves it where it started before this.
    (node.root / "run/pyxis").mkdir()
    outcome = node.run(SETTINGS)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    link = node.root / "run/pyxis"
    assert link.resolve() == node.root / target.lstrip("/") / "pyxis"
    assert link.stat().st_mode & 0o7777 == 0o1777
    # /run is empty after a boot.
    assert node.read("/etc/tmpfiles.d/trainforge.conf") == f"L+ /run/pyxis - - - - {target}/pyxis\n"
    # What ParallelCluster mounts before our program starts is not waited for.
    assert "waiting for" not in outcome.stdout


def test_a_folder_that_a_job_uses_is_left_where_it_is(node: ClusterNode) -> None:
    image = node.file("/run/pyxis/1000/7.0.squashfs", "image")
    outcome = node.run(SETTINGS)
    assert outcome.returncode == 0, outcome.stderr
    assert "WARNING: '/run/pyxis' is in use" in outcome.stdout
    assert image.read_text() == "image"


def test_a_file_system_above_the_shared_one_does_not_count_as_it(node: ClusterNode) -> None:
    """A local disk at /data is no /data/fsx: each node would fill it with a cache of its own."""
    node.file(
        "/proc/self/mounts",
        "/dev/root / ext4 rw 0 0\ns /data ext4 rw 0 0\ns /home nfs4 rw 0 0\ns /scratch ext4 rw 0 0\n",
    )
    containers = SETTINGS["containers"] | {"cache_path": "/data/fsx/enroot"}
    outcome = node.run(SETTINGS | {"containers": containers, "mounts": ["/home", "/data/fsx"]})
    assert outcome.returncode == 1
    assert "'/data/fsx/enroot' is on no mounted file system" in outcome.stderr
    assert not (node.root / "data/fsx/enroot").exists()


def test_namespaces_are_left_alone_where_they_are_free(node: ClusterNode) -> None:
    node.file("/etc/os-release", 'ID=ubuntu\nVERSION_ID="22.04"\n')
    assert node.run(SETTINGS).returncode == 0
    assert node.calls("sysctl") == []


def test_no_disks_of_its_own_is_the_root_disk(node: ClusterNode) -> None:
    node.file("/proc/self/mounts", "/dev/root / ext4 rw 0 0\ns /fsx lustre rw 0 0\ns /home nfs4 rw 0 0\n")
    outcome = node.run(SETTINGS)
    assert outcome.returncode == 0
    assert "no instance store is mounted on '/scratch'" in outcome.stdout
    assert "ENROOT_DATA_PATH /var/lib/enroot/data" in node.read("/etc/enroot/enroot.conf")


def test_failures_are_on_standard_error_which_becomes_the_event(node: ClusterNode) -> None:
    node.program("apt-get", "exit 100")
    outcome = node.run(SETTINGS)
    assert outcome.returncode == 1
    (line,) = outcome.stderr.splitlines()
    assert line.startswith("failed: step 'packages': command 'apt-get")
    assert "; log: " in line
    assert "; next: " in line
    assert "pyxis is loaded" in outcome.stdout
    assert line in node.read("/var/log/trainforge/node-setup.log")


def test_the_certificate_is_there_before_anything_else(node: ClusterNode) -> None:
    url = "s3://scripts/ca.pem"
    first = node.run(SETTINGS, "start", url, "0123456789ab")
    assert first.returncode == 0, first.stdout
    path = CA_CERTIFICATE_PATH
    assert node.read(path) == CERTIFICATE
    assert counts(first.stdout) | {"seconds": 0} == {"steps": 1, "changed": 1, "failed": 0, "seconds": 0}
    assert counts(node.run(SETTINGS, "start", url).stdout)["changed"] == 0
    (node.state / "certificate").write_text("<html>")
    refused = node.run(SETTINGS, "start", url)
    assert refused.returncode == 1
    assert "is no certificate in PEM form" in refused.stderr
    assert node.read(path) == CERTIFICATE


def test_the_exporter_runs_without_privileges(
    node: ClusterNode, release: Callable[[bytes], dict[str, Any]]
) -> None:
    outcome = node.run({"node_exporter": release(b"program")})
    assert outcome.returncode == 0, outcome.stdout
    assert node.read(EXPORTER) == "program"
    unit = node.read("/etc/systemd/system/trainforge-node-exporter.service")
    assert f"ExecStart={EXPORTER} --collector.textfile.directory=/var/lib/node_exporter/textfile" in unit
    assert "DynamicUser=yes" in unit


def test_another_archive_is_refused(node: ClusterNode, release: Callable[[bytes], dict[str, Any]]) -> None:
    told = release(b"program")
    told["sha256"] = {platform.machine(): "0" * 64}
    outcome = node.run({"node_exporter": told})
    assert outcome.returncode == 1
    assert "it is not the expected release" in outcome.stderr
    assert not (node.root / EXPORTER.lstrip("/")).exists()


def test_a_download_that_fails_costs_metrics_and_not_the_node(
    node: ClusterNode, release: Callable[[bytes], dict[str, Any]]
) -> None:
    told = release(b"program")
    told["url"] += "-gone"
    outcome = node.run({"node_exporter": told})
    assert outcome.returncode == 0
    assert "WARNING: node exporter not installed" in outcome.stdout
    assert node.calls("systemctl") == []


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({"user": []}, "key 'user' is unknown"),
        ({"node_exporter": {"version": "1"}}, "node_exporter: KeyError('url')"),
        ({"node_exporter": []}, "node_exporter: TypeError"),
    ],
)
def test_a_wrong_configuration_does_nothing(
    node: ClusterNode, configuration: dict[str, Any], message: str
) -> None:
    before = node.snapshot()
    outcome = node.run(configuration)
    assert outcome.returncode == 1
    assert message in outcome.stderr
    assert node.snapshot() == before


def test_a_later_version_leaves_nothing_of_an_earlier_one(node: ClusterNode) -> None:
    old = node.file("/opt/trainforge/node-setup/nodes/gone.py", "")
    assert node.run({}).returncode == 0
    assert not old.exists()
    assert node.settled() == {}


def test_dos2unix_which_parallelcluster_runs_over_a_script_leaves_the_file_alone(
    node: ClusterNode, tmp_path: Path
) -> None:
    """Steps of aws-parallelcluster-cookbook, custom_action_executor.py: chmod, dos2unix, run, each must succeed."""
    dos2unix = require_program("dos2unix", "Debian and Ubuntu have it: apt-get install dos2unix")
    content = packed(SETTINGS)
    # A checksum in the archive may hold the two bytes by chance, and converted it would be another.
    with_line_end = content[:-30] + b"\r\n" + content[-30:]
    script = tmp_path / "script"
    for given in (with_line_end, content):
        script.write_bytes(given)
        done = subprocess.run([dos2unix, str(script)], capture_output=True, text=True, check=False)
        assert (done.returncode, script.read_bytes() == given) == (0, True), done.stderr
    assert node.run_file(script).returncode == 0


def test_the_same_sources_make_the_same_file() -> None:
    one, other = packed(SETTINGS), packed(SETTINGS)
    assert one == other
    assert revision(one) != revision(packed({}))
    with zipfile.ZipFile(io.BytesIO(one)) as archive:
        names = archive.namelist()
    assert {
        "set_up.py",
        "node.json",
        "nodes/common/users.py",
        "nodes/parallelcluster/pyxis_plugin.py",
    } <= set(names)
    assert [name for name in names if "pycache" in name] == []


def test_what_the_nodes_run_is_clean_shell() -> None:
    shellcheck = require_program("shellcheck", "'make setup-dev' installs it from PyPI")
    done = subprocess.run([shellcheck, str(ENTRY)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_what_the_nodes_run_needs_nothing_newer_than_python_3_9(tmp_path: Path) -> None:
    """By vermin, which knows from which version on syntax, modules and their members are there."""
    vermin = require_program("vermin", "'make setup-dev' installs it")
    with zipfile.ZipFile(io.BytesIO(packed({}))) as archive:
        archive.extractall(tmp_path)

    def judged() -> subprocess.CompletedProcess[str]:
        command = [vermin, "--target=3.9-", "--no-tips", "--eval-annotations", str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = judged()
    assert done.returncode == 0, done.stdout
    (tmp_path / "newer.py").write_text("import tomllib\n", encoding="utf-8")
    assert judged().returncode != 0


def test_it_runs_on_python_3_9(tmp_path: Path) -> None:
    node = ClusterNode(tmp_path, python=require_python("3.9"))
    first = node.run(SETTINGS)
    assert first.returncode == 0, first.stdout + first.stderr
    assert counts(node.run(SETTINGS).stdout)["changed"] == 0


DATABASE_SECRET = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:Password-AbCdEf"
PASSWORD_SCRIPT = "/opt/parallelcluster/scripts/slurm/update_slurm_database_password.sh"
FOLLOWER = "/etc/systemd/system/trainforge-accounting-password.service"


def test_the_head_node_follows_the_password_of_the_database_that_parallelcluster_names(
    tmp_path: Path,
) -> None:
    """The secret is no argument: ParallelCluster would refuse to add a database to an existing head node."""
    for kind, followed in (("HeadNode", True), ("LoginNode", False), ("ComputeFleet", False)):
        node = ClusterNode(tmp_path / kind, kind)
        node.file(
            PASSWORD_SCRIPT, f'#!/bin/bash\nset -e\nSECRET_ARN="{DATABASE_SECRET}"\nREGION="eu-west-1"\n'
        )
        done = node.run({}, "configured")
        assert done.returncode == 0, done.stdout
        assert (node.root / FOLLOWER.lstrip("/")).exists() is followed, kind
        if followed:
            assert f"{DATABASE_SECRET} eu-west-1\n" in node.read(FOLLOWER)
            before = node.snapshot()
            again = node.run({}, "configured", "another-revision")
            assert counts(again.stdout)["changed"] == 0, again.stdout
            assert node.snapshot() == before


@pytest.mark.parametrize("text", [None, "#!/bin/bash\n", 'SECRET_ARN=""\n', "SECRET_ARN=$1\n"])
def test_without_a_database_there_is_nothing_to_follow(node: ClusterNode, text: str | None) -> None:
    if text is not None:
        node.file(PASSWORD_SCRIPT, text)
    done = node.run({}, "configured")
    assert done.returncode == 0, done.stdout
    assert not (node.root / FOLLOWER.lstrip("/")).exists()
    assert ("names no secret" in done.stdout) is (text is not None)
