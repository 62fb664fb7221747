"""The function that installs charts, with the helm that it runs, on a real control plane.

CloudFormation sends events and is told of every outcome; helm is killed at moments when its record says that it is in
the middle of something. Only what AWS gives the function is replaced: the chart's source and the way into the cluster.
"""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import random
import secrets
import shutil
import string
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from programs.functions.helm import access, objects, tools
from programs.functions.helm import source as chart_source
from tests.helm_handler import give_credentials
from tests.kubectl import require_helm
from tests.kubernetes.helm_function import CRD, HELDS, RBAC, TASKS, Function
from tests.kubernetes.plane.api import Api, Document
from tests.kubernetes.plane.control_plane import ControlPlane
from tests.ports import LOOPBACK

CHART = Path(__file__).parent / "chart"
DEPLOYED, FAILED, PENDING_INSTALL, PENDING_UPGRADE = (
    "deployed",
    "failed",
    "pending-install",
    "pending-upgrade",
)

# 430,000 characters that do not compress: the record has them twice, and is as large as that of Trainer's chart.
BULK = "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=430_000))


def _digest(chart: Path) -> str:
    files = sorted((path.relative_to(chart).as_posix(), path) for path in chart.rglob("*") if path.is_file())
    lines = (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n" for name, path in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@pytest.fixture(scope="module")
def helm(artifacts: Callable[[str], Path]) -> str:
    """Return the helm of the kubectl layer."""
    return require_helm(artifacts("helm"))


@pytest.fixture
def function(
    control_plane: ControlPlane,
    api: Api,
    namespace: str,
    helm: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Function]:
    """Return the function with a release of this test; whatever is left of it goes with the test."""
    give_credentials(monkeypatch)
    told: list[dict[str, Any]] = []

    def take(request: Any, timeout: int) -> io.BytesIO:
        told.append(json.loads(request.data))
        return io.BytesIO()

    def fetch(repository: str, commit: str, folder: Path, deadline: float) -> Path:
        return Path(shutil.copytree(CHART, folder / "source" / "chart")).parent

    def kubeconfig(path: Path, *, namespace: str, **_: str) -> Path:
        document = json.loads(control_plane.kubeconfig.read_text(encoding="utf-8"))
        document["contexts"][0]["context"]["namespace"] = namespace
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    pid_file, program = tmp_path / "pid", tmp_path / "helm"
    program.write_text(f'#!/bin/sh\necho $$ > "{pid_file}"\nexec "{helm}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("HELM", str(program))
    monkeypatch.setenv("KUBECTL", str(control_plane.assets.program("kubectl")))
    monkeypatch.setattr(urllib.request, "urlopen", take)
    monkeypatch.setattr(chart_source, "fetch", fetch)
    monkeypatch.setattr(access, "kubeconfig", kubeconfig)
    monkeypatch.setattr(tools, "_PAUSE_SECONDS", 1)
    source = {
        "Repository": "example/charts",
        "Commit": "0" * 40,
        "Chart": "chart",
        "Digest": _digest(CHART),
        "Archives": {},
        "LeftOut": [],
    }
    name = f"r{secrets.token_hex(3)}"
    yield Function(api, namespace, name, helm, pid_file, told, source)
    environment = {
        "KUBECONFIG": str(control_plane.kubeconfig),
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
    }
    words = [helm, "uninstall", name, "--namespace", namespace, "--ignore-not-found", "--no-hooks"]
    subprocess.run(words, env=environment, check=False, capture_output=True)
    for role in ("admin", "user"):
        api.delete(RBAC, "ClusterRole", f"{name}-{role}")
    api.delete(CRD, "CustomResourceDefinition", HELDS)
    api.delete(CRD, "CustomResourceDefinition", TASKS)
    for one in (HELDS, TASKS):
        api.await_(f"{one} is gone", lambda one=one: not api.find(CRD, "CustomResourceDefinition", one))


def test_installed_updated_and_put_back(function: Function) -> None:
    """An update conflicts with the controller of aggregated roles, whose rules the chart declares as empty."""
    function.succeeds("Create", bulk=BULK)
    function.await_aggregated()
    (record,) = function.records()
    assert len(record["data"]["release"]) * 3 / 4 > 850_000
    operator = function.find("v1", "ServiceAccount", "operator")
    assert operator
    function.succeeds("Update", bulk=BULK, text="second", operator=False, part={"enabled": False})
    assert function.text() == "second"
    function.await_aggregated()
    assert function.find("v1", "ServiceAccount", "operator") is None
    assert function.find("v1", "ConfigMap", "part") is None
    assert function.api.find(CRD, "CustomResourceDefinition", TASKS) is None
    function.succeeds("Update", bulk=BULK, text="first")
    assert function.text() == "first"
    assert function.find("v1", "ServiceAccount", "operator")
    assert function.find("v1", "ConfigMap", "part")
    function.await_aggregated()
    assert function.statuses() == ["superseded", "superseded", DEPLOYED]


@pytest.mark.heavy
def test_what_a_chart_does_not_declare_stays(function: Function) -> None:
    """An operator fills the Secret of its certificate and its webhook's authority; an update must not undo that."""
    function.succeeds("Create")
    place = {"namespace": function.namespace}
    function.api.patch("v1", "Secret", f"{function.name}-certificate", {"data": {"tls.crt": "Y2E="}}, **place)
    where = (
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
        f"{function.name}-operator",
    )
    webhooks = function.api.get(*where)["webhooks"]
    webhooks[0]["clientConfig"]["caBundle"] = "Y2E="
    function.api.patch(*where, {"webhooks": webhooks})
    function.succeeds("Update", text="second")
    assert function.api.get(*where)["webhooks"][0]["clientConfig"]["caBundle"] == "Y2E="
    certificate = function.find("v1", "Secret", "certificate")
    assert certificate
    assert certificate["data"] == {"tls.crt": "Y2E="}


def test_a_failed_update_goes_back(function: Function) -> None:
    """helm undoes it, and CloudFormation's own rollback, which comes next, finds a release that it can bring back."""
    function.succeeds("Create")
    function.await_aggregated()
    told, reason = function.send("Update", text="second", fails=True)
    assert told == "FAILED"
    assert "failed" in reason
    assert function.text() == "first"
    assert function.statuses()[-2:] == [FAILED, DEPLOYED]
    # The revision that helm went back to is still this resource's, and so is the next one.
    function.succeeds("Update", text="first")
    function.await_aggregated()
    function.succeeds("Delete")
    assert function.left() == []


@pytest.mark.heavy
@pytest.mark.parametrize("after", ["Create", "Delete"])
def test_killed_in_an_installation(function: Function, after: str) -> None:
    function.killed("Create", PENDING_INSTALL, "before")
    function.succeeds(after)
    if after == "Create":
        assert function.text() == "first"
        assert function.statuses() == [DEPLOYED]
    else:
        assert function.left() == []


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("hook", "operator"),
    [("before", False), ("after", True)],
    ids=["before it removes", "after it added"],
)
def test_killed_in_an_update(function: Function, hook: str, operator: bool) -> None:
    """Before the objects are applied, in an update that removes an operator; after, in one that adds it."""
    function.succeeds("Create", operator=not operator)
    function.await_aggregated()
    kept = function.find("v1", "ConfigMap", "content")
    function.killed("Update", PENDING_UPGRADE, hook, operator=operator, text="second")
    function.succeeds("Update", operator=not operator)
    assert function.text() == "first"
    found = function.find("v1", "ConfigMap", "content")
    assert kept
    assert found
    assert found["metadata"]["uid"] == kept["metadata"]["uid"], "it was changed in place"
    for version, kind in (
        ("v1", "ServiceAccount"),
        (RBAC, "ClusterRole"),
        ("apps/v1", "Deployment"),
        ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
    ):
        assert (function.find(version, kind, "operator") is not None) is not operator
    assert (function.api.find(CRD, "CustomResourceDefinition", TASKS) is not None) is not operator
    assert function.statuses()[-1] == DEPLOYED
    function.await_aggregated()


@pytest.mark.heavy
def test_killed_in_an_update_and_deleted(function: Function) -> None:
    """Objects that only the revision before had, or only the one that was killed, are deleted too."""
    function.succeeds("Create", operator=False)
    function.killed("Update", PENDING_UPGRADE, "after", part={"enabled": False})
    function.succeeds("Delete")
    assert function.left() == []


def test_deleted_twice_and_installed_again(function: Function) -> None:
    """Definitions in crds/ are nobody's: they stay, with what people made of them."""
    function.succeeds("Create")
    function.succeeds("Delete")
    assert function.left() == []
    assert function.records() == []
    assert function.api.find(CRD, "CustomResourceDefinition", HELDS)
    function.succeeds("Delete")
    function.succeeds("Create")
    function.await_aggregated()


@contextmanager
def held_back(function: Function, name: str) -> Iterator[Callable[[], None]]:
    """Hold an object's deletion back by a finalizer until the function that is returned is called, or the end."""

    def hold(finalizers: list[str]) -> None:
        found = function.find("v1", "ConfigMap", name)
        if found:
            function.api.patch(
                "v1",
                "ConfigMap",
                f"{function.name}-{name}",
                {"metadata": {"finalizers": finalizers}},
                namespace=function.namespace,
            )

    hold(["test.trainforge.dev/held"])
    try:
        yield lambda: hold([])
    finally:
        hold([])


def test_an_aggregated_role_that_comes_back_is_deleted_again(
    function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubernetes applies the rules of a role that was deleted a moment ago, and so creates it."""
    function.succeeds("Create")
    function.await_aggregated()
    find_again = objects.find_again
    looks = []
    with held_back(function, "content") as let_go:

        def look(tools: Any, found: list[Document]) -> list[Document]:
            left: list[Document] = find_again(tools, found)
            looks.append([one["kind"] for one in left])
            if "ClusterRole" not in looks[-1] and "ConfigMap" in looks[-1]:
                for role in ("admin", "user"):
                    function.remake_role(role)
                let_go()
            return left

        monkeypatch.setattr(objects, "find_again", look)
        function.succeeds("Delete")
    # They came back after all roles were gone, were seen, and are gone for good.
    assert looks[-2].count("ClusterRole") == 2
    assert looks[-1] == []
    assert function.left() == []


def test_roles_are_no_longer_aggregated_when_helm_deletes_them(
    function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The controller creates nothing again after the end, when nobody looks any more; the rights stay until then."""
    function.succeeds("Create")
    function.await_aggregated()
    helm, seen = tools.Tools.helm, []

    def look(programs: Any, *arguments: str, **options: bool) -> str:
        if arguments[0] == "uninstall" and not seen:
            seen.extend(function.find(RBAC, "ClusterRole", role) for role in ("admin", "user"))
        return str(helm(programs, *arguments, **options))

    monkeypatch.setattr(tools.Tools, "helm", look)
    function.succeeds("Delete")
    assert [one.get("aggregationRule") for one in seen] == [None, None]
    assert [len(one["rules"]) for one in seen] == [4, 4]


def test_an_aggregated_role_that_was_left_is_no_obstacle(function: Function) -> None:
    function.remake_role("admin")
    function.succeeds("Create")
    function.await_aggregated()
    found = function.find(RBAC, "ClusterRole", "admin")
    assert found
    assert found["metadata"]["annotations"]["meta.helm.sh/release-name"] == function.name


def test_another_s_object_is_not_taken_over(function: Function) -> None:
    """A role of that name which somebody made stays theirs, and the deployment fails with its name."""
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    name = f"{function.name}-user"
    function.api.create(
        {"apiVersion": RBAC, "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}
    )
    told, reason = function.send("Create")
    assert told == "FAILED"
    assert f'"{name}"' in reason
    assert function.rules("user") == rules


def test_another_resource_neither_takes_a_release_over_nor_uninstalls_it(function: Function) -> None:
    """CloudFormation creates a resource under a new logical id, and then deletes the one under the old id."""
    function.succeeds("Create")
    function.succeeds("Update", text="second")
    function.resource = "Another"
    told, reason = function.send("Create", text="third")
    assert told == "FAILED"
    assert "not installed by this resource" in reason
    function.succeeds("Delete")
    assert function.text() == "second"
    assert function.statuses() == ["superseded", DEPLOYED]


@pytest.mark.heavy
def test_a_failed_deletion_is_reported_and_the_next_installation_replaces_it(function: Function) -> None:
    function.succeeds("Create")
    with held_back(function, "part") as let_go:
        told, reason = function.send("Delete", seconds=55)
        assert told == "FAILED"
        assert f"ConfigMap '{function.namespace}/{function.name}-part'" in reason
        assert function.statuses() == ["uninstalled"]
        let_go()
        function.succeeds("Create", text="second")
    assert function.text() == "second"
    assert function.statuses() == [DEPLOYED]
    function.await_aggregated()


@pytest.mark.heavy
def test_a_chart_of_a_repository(function: Function, tmp_path: Path) -> None:
    """A chart is pulled at its version; its parts are in its archive."""
    files = tmp_path / "repository"
    # helm writes the parts that it resolves into the chart's folder.
    chart = shutil.copytree(CHART, tmp_path / "chart")
    words = ["package", str(chart), "--dependency-update", "--destination", str(files)]
    subprocess.run([function.helm, *words], check=True, capture_output=True)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(files))
    with http.server.ThreadingHTTPServer((LOOPBACK, 0), handler) as server:
        address = f"http://{LOOPBACK}:{server.server_port}"
        subprocess.run(
            [function.helm, "repo", "index", str(files), "--url", address], check=True, capture_output=True
        )
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            function.source = {
                "Repository": address,
                "Chart": "everything",
                "Version": "0.1.0",
                "Wait": "false",
            }
            function.succeeds("Create")
            function.await_aggregated()
            function.succeeds("Update", text="second")
            assert function.text() == "second"
            function.source["Version"] = "0.2.0"
            told, reason = function.send("Update", text="third")
            assert told == "FAILED"
            assert "0.2.0" in reason
            assert function.text() == "second"
        finally:
            server.shutdown()
