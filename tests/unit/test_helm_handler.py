"""The function that installs charts: sources are verified, helm is bounded, CloudFormation always receives an answer.

tests/kubernetes/test_helm_handler.py runs it against a control plane.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
import stat
import subprocess
import tarfile
import time
import tracemalloc
import urllib.parse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from catalog.hyperpod_eks import CHART_PATH
from catalog.versions import HYPERPOD_CHART
from programs.functions.helm import access, index, release, source, tools
from tests.helm_handler import Context, event, give_credentials
from tests.shebang import shebang

_HELM = """\
{shebang}
import json, pathlib, sys
log = pathlib.Path({log!r})
said = sys.argv[1:]
with log.open("a") as file:
    file.write(json.dumps(said) + "\\n")
chart = pathlib.Path(said[-1]) / "Chart.yaml"
if said[0] == "dependency" and chart.exists():
    log.with_name("Chart.yaml").write_text(chart.read_text())
status = pathlib.Path({status!r})
if said[0] == "history":
    if not status.exists():
        sys.exit("Error: release: not found")
    print(json.dumps([{{"revision": 1, "status": status.read_text()}}]))
if said[:2] == ["get", "metadata"]:
    print(json.dumps({{"labels": {{"trainforge-resource": "another"}}}}))
failures = pathlib.Path({failures!r})
plan = json.loads(failures.read_text()) if failures.exists() else {{}}
if plan.get(said[0]):
    message = plan[said[0]].pop(0)
    failures.write_text(json.dumps(plan))
    if message == "hang":
        import time
        time.sleep(60)
    sys.stderr.write(message)
    sys.exit(1)
"""


class Helm:
    """A helm that writes down how it was called, and fails as planned: messages by command, in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "helm"
        self.log = folder / "log"
        self.program.write_text(
            _HELM.format(
                shebang=shebang(),
                log=str(self.log),
                status=str(folder / "status"),
                failures=str(folder / "failures"),
            ),
            encoding="utf-8",
        )
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)

    def stands(self, status: str) -> None:
        """Let there be a release of that status."""
        (self.folder / "status").write_text(status, encoding="utf-8")

    def fails(self, **plan: list[str]) -> None:
        """Let commands fail with these messages."""
        (self.folder / "failures").write_text(json.dumps(plan), encoding="utf-8")

    @property
    def calls(self) -> list[list[str]]:
        """Return the arguments of each call."""
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]

    @property
    def commands(self) -> list[str]:
        """Return the command of each call."""
        return [call[0] for call in self.calls]


@pytest.fixture
def helm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Helm:
    folder = tmp_path / "program"
    folder.mkdir()
    made = Helm(folder)
    give_credentials(monkeypatch)
    monkeypatch.setenv("HELM", str(made.program))
    monkeypatch.setenv("KUBECTL", "true")
    monkeypatch.setattr(tools, "_PAUSE_SECONDS", 0)
    return made


CHART = """\
name: chart
dependencies:
  - name: cert-manager
    version: "v1.18.2"
    repository: oci://quay.io/jetstack/charts
    condition: cert-manager.enabled
  - name: storage
    version: "0.1.0"
    repository: "file://charts/storage"
"""
# sha256sum of the file Chart.yaml of these words, and of the line that it prints for it.
DIGEST = hashlib.sha256(f"{hashlib.sha256(CHART.encode()).hexdigest()}  Chart.yaml\n".encode()).hexdigest()


def archive(text: str = CHART, *, roots: tuple[str, ...] = ("repository-1",), size: int = 0) -> bytes:
    """Return an archive of a repository with the chart, and with a file of zeros of a size."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for root in roots:
            for name, content in (
                ("Chart.yaml", text.encode()),
                *([("zeros", b"\0" * size)] if size else []),
            ):
                member = tarfile.TarInfo(f"{root}/{CHART_PATH}/{name}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return gzip.compress(packed.getvalue())


def test_an_archive_is_unpacked(tmp_path: Path) -> None:
    root = source.unpack(archive(), tmp_path)
    assert (root / CHART_PATH / "Chart.yaml").read_text(encoding="utf-8") == CHART


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        (b"<html>not found</html>", "is not one"),
        (archive()[:-20], "cut off"),
        (archive(roots=("a", "b")), "2 folders"),
    ],
    ids=["no archive", "cut off", "two folders"],
)
def test_another_archive_is_refused(tmp_path: Path, packed: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        source.unpack(packed, tmp_path)


def test_an_archive_is_not_unpacked_beyond_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes of gzip can hold gigabytes, and the function's memory and disk are small."""
    monkeypatch.setattr(source, "_MAX_UNPACKED", 2 * 1024 * 1024)
    bomb = archive(size=64 * 1024 * 1024)
    assert len(bomb) < 1024 * 1024
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="2 MiB when it is unpacked"):
            source.unpack(bomb, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 16 * 1024 * 1024
    finally:
        tracemalloc.stop()
    assert list(tmp_path.iterdir()) == []


def test_a_sparse_file_counts_with_its_size_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    packed = subprocess.run(
        ["tar", "--create", "--sparse", "--gzip", f"--directory={tmp_path}", "sparse"],
        check=True,
        capture_output=True,
    ).stdout
    monkeypatch.setattr(source, "_MAX_UNPACKED", 2 * 1024 * 1024)
    with pytest.raises(ValueError, match="files are larger than 2 MiB"):
        source.unpack(packed, tmp_path / "unpacked")


def test_an_archive_cannot_write_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(tarfile.OutsideDestinationError):
        source.unpack(archive(roots=("../../outside",)), tmp_path)


def _another(chart: Path) -> None:
    (chart / "Chart.yaml").write_text(CHART + " ", encoding="utf-8")


def _more(chart: Path) -> None:
    (chart / "templates").mkdir()
    (chart / "templates" / "evil.yaml").write_text("kind: Pod", encoding="utf-8")


def _renamed(chart: Path) -> None:
    (chart / "Chart.yaml").rename(chart / "chart.yaml")


def _linked(chart: Path) -> None:
    (chart / "Chart.yaml").rename(chart.parent / "Chart.yaml")
    (chart / "Chart.yaml").symlink_to(chart.parent / "Chart.yaml")


@pytest.mark.parametrize(
    ("change", "words"),
    [(_another, "digest"), (_more, "digest"), (_renamed, "digest"), (_linked, "not a plain file")],
)
def test_a_chart_is_compared_by_its_content(
    tmp_path: Path, change: Callable[[Path], None], words: str
) -> None:
    chart = source.unpack(archive(), tmp_path) / CHART_PATH
    source.verify(chart, DIGEST)
    change(chart)
    with pytest.raises(ValueError, match=words):
        source.verify(chart, DIGEST)


def test_the_digest_is_what_sha256sum_makes(tmp_path: Path) -> None:
    """Whoever looks after the pin computes it by the command that the function's text shows."""
    chart = tmp_path / "chart"
    for name in ("a-b/c", "a/b", "B", "a.b"):
        (chart / name).parent.mkdir(parents=True, exist_ok=True)
        (chart / name).write_text(name, encoding="utf-8")
    command = re.search(r"`(find .*)`", source.verify.__doc__)
    assert command
    done = subprocess.run(["sh", "-c", command[1]], cwd=chart, check=True, capture_output=True, text=True)
    source.verify(chart, done.stdout.split()[0])


def test_a_dependency_is_left_out(tmp_path: Path) -> None:
    chart = source.unpack(archive(), tmp_path) / CHART_PATH
    source.leave_out(chart, "cert-manager")
    left = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))
    assert [one["name"] for one in left["dependencies"]] == ["storage"]
    with pytest.raises(ValueError, match="'cert-manager' 0 times"):
        source.leave_out(chart, "cert-manager")


def test_the_token_is_a_presigned_call_that_names_the_cluster() -> None:
    session = boto3.Session("AKIDEXAMPLE", "example", region_name="us-west-2")
    token = access.token(session, "hp-hyperpod-eks", "us-west-2")
    head, _, body = token.rpartition(".")
    assert head == "k8s-aws-v1"
    address = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)).decode()
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(address).query)
    assert query["Action"] == ["GetCallerIdentity"]
    assert "x-k8s-aws-id" in query["X-Amz-SignedHeaders"][0]


def made_tools(tmp_path: Path, seconds: float = 500) -> Any:
    config = tmp_path / "kubeconfig"
    config.touch()
    return tools.Tools(config, time.monotonic() + seconds)


def made_release(tmp_path: Path, seconds: float = 500) -> Any:
    return release.Release("r", "kube-system", made_tools(tmp_path, seconds), "owner")


@pytest.mark.parametrize("wait", [True, False])
def test_a_chart_is_installed_in_the_time_that_is_left(helm: Helm, tmp_path: Path, wait: bool) -> None:
    made_release(tmp_path).apply(tmp_path / "chart", {"a": 1}, wait=wait)
    assert helm.commands == ["history", "template", "upgrade"]
    upgrade = helm.calls[-1]
    assert {"--install", "--create-namespace", "--force-conflicts"} <= set(upgrade)
    assert ("--rollback-on-failure" in upgrade, "--wait" in upgrade) == (wait, wait)
    bound = int(upgrade[upgrade.index("--timeout") + 1].removesuffix("s"))
    assert 15 <= bound <= 470


def test_a_source_that_is_sent_too_slowly_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            now[0] += 50
            return b"x"

    now = [0.0]
    monkeypatch.setattr(source.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(urllib.request, "urlopen", lambda address, timeout: Slow())
    with pytest.raises(TimeoutError, match=r"r/archive/c\.tar\.gz has sent 3 bytes, and no time is left"):
        source.fetch("o/r", "c", tmp_path, deadline=120)


def test_a_fetch_that_times_out_is_tried_again(helm: Helm, tmp_path: Path) -> None:
    helm.fails(dependency=["connection refused", "i/o timeout"])
    source.resolve(made_tools(tmp_path), tmp_path / "chart", {})
    assert helm.commands == ["dependency", "dependency", "dependency"]


def test_what_does_not_pass_is_not_tried_again(helm: Helm, tmp_path: Path) -> None:
    helm.fails(dependency=["chart 'x' not found in repository"])
    with pytest.raises(tools.ToolError, match="not found in repository"):
        source.resolve(made_tools(tmp_path), tmp_path / "chart", {})
    assert helm.commands == ["dependency"]


def test_parts_of_other_repositories_are_compared(helm: Helm, tmp_path: Path) -> None:
    archives = {"part-1.tgz": hashlib.sha256(b"part").hexdigest()}
    (tmp_path / "chart" / "charts").mkdir(parents=True)
    part = tmp_path / "chart" / "charts" / "part-1.tgz"
    resolve = partial(source.resolve, made_tools(tmp_path), tmp_path / "chart", archives)
    with pytest.raises(ValueError, match=r"did not fetch 'part-1\.tgz'"):
        resolve()
    part.write_bytes(b"another")
    with pytest.raises(ValueError, match=r"'part-1\.tgz' has the digest"):
        resolve()
    part.write_bytes(b"part")
    resolve()


@pytest.mark.parametrize(
    ("repository", "words"),
    [
        ("oci://example.com/charts/kueue", ["oci://example.com/charts/kueue"]),
        ("https://example.com/charts", ["kueue", "--repo", "https://example.com/charts"]),
    ],
)
def test_a_chart_of_a_registry_is_named_by_its_address(
    helm: Helm, tmp_path: Path, repository: str, words: list[str]
) -> None:
    (tmp_path / "pulled" / "kueue").mkdir(parents=True)
    chart = source.pull(made_tools(tmp_path), repository, "kueue", "1.2.3", tmp_path)
    assert chart == tmp_path / "pulled" / "kueue"
    assert helm.calls[0][: len(words) + 3] == ["pull", *words, "--version", "1.2.3"]


def test_helm_is_stopped_when_the_time_is_over(
    helm: Helm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "_MIN_SECONDS", 0)
    helm.fails(upgrade=["hang"])
    with pytest.raises(tools.ToolError, match="did not end in"):
        made_tools(tmp_path, seconds=3).helm("upgrade", "r")


def test_without_time_nothing_is_begun(helm: Helm, tmp_path: Path) -> None:
    with pytest.raises(tools.ToolError, match="no time is left"):
        made_release(tmp_path, seconds=5).apply(tmp_path / "chart", {}, wait=True)
    assert helm.calls == []


@pytest.mark.parametrize(("passed_over", "raises"), [("no matches for kind", False), ("", True)])
def test_a_kind_without_a_definition_on_the_cluster(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    passed_over: str,
    raises: bool,
) -> None:
    program = tmp_path / "kubectl"
    program.write_text(
        "#!/bin/sh\necho found\necho 'error: no matches for kind \"A\"' >&2\nexit 1\n", encoding="utf-8"
    )
    program.chmod(0o755)
    monkeypatch.setenv("KUBECTL", str(program))
    call = partial(made_tools(tmp_path).kubectl, "get", passed_over=passed_over)
    if raises:
        with pytest.raises(tools.ToolError, match="no matches for kind"):
            call()
    else:
        assert call() == "found\n"


@pytest.fixture
def send(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Return a function that sends one event to the handler and returns what CloudFormation received."""
    told: list[dict[str, Any]] = []

    class Answer(io.BytesIO):
        pass

    def serve(request: Any, timeout: int) -> Answer:
        if isinstance(request, str):
            assert HYPERPOD_CHART in request
            return Answer(fetched["packed"])
        told.append(json.loads(request.data))
        return Answer()

    fetched = {"packed": archive()}
    monkeypatch.setattr(urllib.request, "urlopen", serve)

    def call(request: str, packed: bytes | None = None, **more: str) -> dict[str, Any]:
        fetched["packed"] = archive() if packed is None else packed
        sent = event(
            request,
            Repository="aws/sagemaker-hyperpod-cli",
            Commit=HYPERPOD_CHART,
            Digest=DIGEST,
            Archives={},
            LeftOut=["cert-manager"],
            Chart=CHART_PATH,
        )
        index.handler({**sent, **more}, Context())
        return told.pop()

    return call


def test_cloudformation_receives_success_and_failure(send: Callable[..., dict[str, Any]], helm: Helm) -> None:
    assert send("Create")["Status"] == "SUCCESS"
    resolved = helm.log.with_name("Chart.yaml").read_text(encoding="utf-8")
    assert "name: storage" in resolved
    assert "cert-manager" not in resolved
    helm.fails(upgrade=["pods are not ready"])
    told = send("Update")
    assert (told["Status"], told["PhysicalResourceId"]) == ("FAILED", "hp/kube-system/r")
    assert "pods are not ready" in told["Reason"]
    told = send("Create", archive(CHART + " "))
    assert told["Status"] == "FAILED"
    assert "nothing was installed" in told["Reason"]


def test_deletion_fetches_nothing_and_never_existed_is_fine(
    send: Callable[..., dict[str, Any]], helm: Helm
) -> None:
    assert send("Delete", b"")["Status"] == "SUCCESS"
    assert helm.commands == ["history"]


def test_a_release_of_another_resource_is_neither_taken_over_nor_uninstalled(
    send: Callable[..., dict[str, Any]], helm: Helm
) -> None:
    """CloudFormation creates a resource under a new logical id, and then deletes the one under the old id."""
    helm.stands("deployed")
    told = send("Create")
    assert told["Status"] == "FAILED"
    assert "'r' in the namespace 'kube-system' was not installed by this resource" in told["Reason"]
    assert send("Delete")["Status"] == "SUCCESS"
    assert set(helm.commands) == {"history", "get"}


def test_another_name_is_another_resource_once_it_is_installed(
    send: Callable[..., dict[str, Any]], helm: Helm
) -> None:
    """CloudFormation deletes the release of the old name when it receives another id."""
    old = {"PhysicalResourceId": "hp/kube-system/old"}
    assert send("Update", **old)["PhysicalResourceId"] == "hp/kube-system/r"
    helm.fails(upgrade=["pods are not ready"])
    assert send("Update", **old)["PhysicalResourceId"] == "hp/kube-system/old"
    assert send("Delete", **old)["PhysicalResourceId"] == "hp/kube-system/old"
