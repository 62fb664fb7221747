"""The emulator's EKS clusters with control planes: objects installed, changed and deleted, and their authors."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.control_planes import ControlPlaneError, Release
from emulator.server import Emulator
from tests.emulator.formation import Formation, ref
from tests.emulator.test_emulator_eks import CLUSTER, example
from tests.kubernetes import emulated
from tests.kubernetes.plane.assets import Assets
from tests.kubernetes.plane.shared_use import SharedUse
from tests.programs import require_program

ANYBODY = "arn:aws:lambda:us-west-2:123456789012:function:anybody"
PERSON = "arn:aws:iam::111122223333:role/person"
SPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "training"}}


def config_map(name: str, value: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "training"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"key": value}}


@pytest.fixture(scope="module")
def folder(artifacts: Callable[[str], Path]) -> Path:
    return artifacts("emulated")


@pytest.fixture(scope="module")
def emulator(folder: Path, assets: Assets) -> Iterator[Emulator]:
    """Return an emulator whose EKS clusters have control planes."""
    options = {"assets": str(assets.folder), "folder": str(folder / "clusters")}
    planes = ("tests.kubernetes.emulated:Clusters", options)
    with Emulator(log=folder / "emulator.log", control_planes=planes) as running:
        yield running
    assert list((folder / "clusters").glob("*")) == []


@pytest.fixture
def formation(emulator: Emulator) -> Iterator[Formation]:
    made = Formation(emulator)
    yield made
    made.clean()


class User:
    """A user of the cluster with the AWS CLI and kubectl, in a role or in none."""

    def __init__(self, emulator: Emulator, folder: Path, assets: Assets, role: str = "") -> None:
        aws = require_program("aws", "requirements-dev.txt brings it")
        path = os.pathsep.join([str(Path(aws).parent), str(assets.folder), os.environ["PATH"]])
        kubeconfig = folder / f"kubeconfig-{role.rpartition('/')[2]}"
        self._environment = {**emulator.environment(), "PATH": path, "KUBECONFIG": str(kubeconfig)}
        words = ["--name", CLUSTER, "--region", emulator.region, *(["--role-arn", role] if role else [])]
        done = self._run("aws", "eks", "update-kubeconfig", *words)
        assert done.returncode == 0, done.stderr

    def kubectl(self, *words: str) -> str:
        """Return what kubectl prints, its errors too."""
        done = self._run("kubectl", *words)
        return done.stdout + done.stderr

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self._environment, capture_output=True, text=True, check=False, timeout=120
        )


@pytest.mark.heavy
def test_a_cluster_has_a_control_plane_with_objects_and_users_of_its_stack(
    formation: Formation, folder: Path, assets: Assets
) -> None:
    template = example()
    parts = template["Resources"]
    policy = parts["Person"]["Properties"]["AccessPolicies"][0]
    policy["AccessScope"] = {"Type": "namespace", "Namespaces": ["training"]}
    documents = [SPACE, config_map("kept", "one"), config_map("dropped", "one")]
    given = {"ServiceToken": ANYBODY, "ClusterName": ref("Cluster"), "Manifest": json.dumps(documents)}
    parts["Objects"] = {"Type": "Custom::AWSCDK-EKS-KubernetesResource", "Properties": given}
    with formation.deployed(template) as name:
        person = User(formation.emulator, folder, assets, PERSON)
        assert json.loads(person.kubectl("get", "configmap", "kept", "-n", "training", "-o", "json"))[
            "data"
        ] == {"key": "one"}
        stranger = User(formation.emulator, folder, assets)
        path = "/api/v1/namespaces/training/configmaps"
        assert "Unauthorized" in stranger.kubectl("get", "--raw", path)
        assert "cannot create resource" in person.kubectl("create", "configmap", "new", "-n", "training")
        assert "cannot list resource" in person.kubectl("get", "--raw", "/api/v1/namespaces")

        changed = copy.deepcopy(template)
        changed["Resources"]["Objects"]["Properties"]["Manifest"] = json.dumps(
            [SPACE, config_map("kept", "two"), config_map("added", "two")]
        )
        edit = changed["Resources"]["Person"]["Properties"]["AccessPolicies"][0]
        edit["PolicyArn"] = edit["PolicyArn"].replace("AmazonEKSViewPolicy", "AmazonEKSEditPolicy")
        assert formation.update(name, changed) == "UPDATE_COMPLETE", formation.reasons(name)
        listed = json.loads(person.kubectl("get", "--raw", path))["items"]
        found = {one["metadata"]["name"]: one["data"].get("key") for one in listed}
        assert {key: found.get(key) for key in ("kept", "dropped", "added")} == {
            "kept": "two",
            "dropped": None,
            "added": "two",
        }
        assert "configmap/new created" in person.kubectl("create", "configmap", "new", "-n", "training")
        refused = copy.deepcopy(changed)
        refused["Resources"]["Objects"]["Properties"]["Manifest"] = json.dumps(
            [SPACE, {**config_map("kept", "three"), "dat": {}}]
        )
        assert formation.update(name, refused) == "UPDATE_ROLLBACK_COMPLETE"
        assert "field not declared in schema" in formation.reasons(name)
        assert json.loads(person.kubectl("get", "--raw", f"{path}/kept"))["data"] == {"key": "two"}
    assert list((folder / "clusters").glob("*")) == []


@pytest.fixture
def machine_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Return a folder that is there and one that is not, in the place of those of the machine."""
    here, made = tmp_path / "here", tmp_path / "made"
    here.mkdir()
    monkeypatch.setattr(emulated, "MACHINE_FOLDERS", (here, made))
    monkeypatch.setattr(emulated, "LOCK", tmp_path / "lock")
    return here, made


def test_folders_outside_that_were_not_there_before_go_with_the_last_user(
    tmp_path: Path, machine_folders: tuple[Path, Path]
) -> None:
    here, made = machine_folders
    clusters = emulated.Clusters(str(tmp_path / "assets"), str(tmp_path / "clusters"))
    made.mkdir()
    other = SharedUse(tmp_path / "lock")
    clusters.close()
    assert made.exists()
    other.end(lambda: None)
    clusters.close()
    assert list(tmp_path.iterdir()) == [here]


@pytest.mark.usefixtures("machine_folders")
def test_a_missing_control_plane_is_reported(tmp_path: Path) -> None:
    clusters = emulated.Clusters(str(tmp_path / "assets"), str(tmp_path / "clusters"))
    arn = "arn:aws:eks:us-west-2:123456789012:cluster/one"
    with pytest.raises(ControlPlaneError, match=r"there is no control plane of '.*cluster/one'"):
        clusters.install(arn, Release("a", "default"))
    with pytest.raises(ControlPlaneError, match=r"KUBEBUILDER_ASSETS=.* is not a folder"):
        clusters.create(arn, "http://localhost:1/review")
    assert list((tmp_path / "clusters").iterdir()) == []
    clusters.close()
    with pytest.raises(ControlPlaneError, match="are being ended"):
        clusters.create(arn, "http://localhost:1/review")
