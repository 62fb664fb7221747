"""The control plane of the tests: it starts, refuses, restarts, reports faults, and leaves no process."""

from __future__ import annotations

import os
import signal
import socket
import stat
from pathlib import Path

import pytest

from tests.kubernetes.plane.api import Api, Refused
from tests.kubernetes.plane.assets import CONTROL_PLANE, Assets, AssetsError
from tests.kubernetes.plane.control_plane import ControlPlane
from tests.kubernetes.plane.processes import ProgramError
from tests.ports import LOOPBACK
from tests.processes import naming

CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"key": "value"}}


@pytest.mark.namespaced
def test_objects_are_created_and_refused(api: Api, namespace: str) -> None:
    api.create(CONFIG_MAP, namespace=namespace)
    assert api.get("v1", "ConfigMap", "one", namespace=namespace)["data"] == {"key": "value"}
    with pytest.raises(Refused, match="AlreadyExists"):
        api.create(CONFIG_MAP, namespace=namespace)
    with pytest.raises(Refused, match=r"unknown field \"date\""):
        api.create({**CONFIG_MAP, "metadata": {"name": "two"}, "date": {}}, namespace=namespace)


@pytest.mark.namespaced
def test_a_dry_run_stores_nothing(api: Api, namespace: str) -> None:
    api.create(CONFIG_MAP, namespace=namespace, dry_run=True)
    assert api.find("v1", "ConfigMap", "one", namespace=namespace) is None


@pytest.mark.namespaced
def test_a_user_without_rights_is_refused(api: Api, namespace: str) -> None:
    with pytest.raises(Refused, match=r'403 Forbidden: .* User "ana" cannot create resource "configmaps"'):
        api.acting_as("ana").create(CONFIG_MAP, namespace=namespace)


def test_objects_outlive_a_restart_of_the_api_server(
    control_plane: ControlPlane, api: Api, namespace: str
) -> None:
    api.create(CONFIG_MAP, namespace=namespace)
    control_plane.restart_api_server()
    assert api.get("v1", "ConfigMap", "one", namespace=namespace)["data"] == {"key": "value"}


def test_programs_that_are_absent_are_named(tmp_path: Path, assets: Assets) -> None:
    for name in CONTROL_PLANE[:3]:
        (tmp_path / name).symlink_to(assets.folder / name)
    with pytest.raises(
        AssetsError, match=r"has no program kube-scheduler, kubectl; docs/kubernetes-tests\.md"
    ):
        ControlPlane(tmp_path / "plane", Assets(tmp_path)).start()


@pytest.mark.parametrize(("program", "name"), [("etcd", "etcd"), ("kube-apiserver", "api-server")])
def test_a_program_that_does_not_start_is_named_with_the_end_of_its_log(
    tmp_path: Path, assets: Assets, program: str, name: str
) -> None:
    folder = tmp_path / "programs"
    folder.mkdir()
    for one in CONTROL_PLANE:
        (folder / one).symlink_to(assets.folder / one)
    (folder / program).unlink()
    (folder / program).write_text("#!/bin/sh\necho no room on this machine\nexit 3\n")
    (folder / program).chmod(stat.S_IRWXU)
    plane = ControlPlane(tmp_path / "plane", Assets(folder))
    with (
        pytest.raises(ProgramError, match=rf"(?s)^{name} ended with code 3; .*no room on this machine"),
        plane,
    ):
        pass
    assert not naming(plane.folder)


def test_a_port_that_is_taken_is_named_with_the_end_of_the_log(tmp_path: Path, assets: Assets) -> None:
    plane = ControlPlane(tmp_path / "plane", assets)
    port = int(plane.server.rpartition(":")[2])
    with (
        socket.create_server((LOOPBACK, port)),
        pytest.raises(ProgramError, match=r"(?s)api-server ended with code 1; .*address already in use"),
        plane,
    ):
        pass
    assert not naming(plane.folder)


def test_a_control_plane_that_dies_is_named_with_the_end_of_its_log(tmp_path: Path, assets: Assets) -> None:
    with ControlPlane(tmp_path / "plane", assets) as plane:
        os.kill(plane.processes.pid("etcd"), signal.SIGKILL)
        plane.api.await_("etcd is gone", lambda: not plane.processes.running("etcd"))
        with pytest.raises(ProgramError, match=r"etcd ended with code -9; .*etcd\.log ends with"):
            plane.processes.check()
    assert not naming(plane.folder)
