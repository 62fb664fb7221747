"""Parts of a process node: names of pods, mounts, variables, logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kubernetes.process_node.__main__ import main
from tests.kubernetes.process_node.logs import _tail
from tests.kubernetes.process_node.mounts import bind, mounted
from tests.kubernetes.process_node.network import address_of, hosts
from tests.kubernetes.process_node.variables import Variables, expand


def pod(name: str, address: str, **spec: str) -> dict[str, object]:
    metadata = {"name": name, "namespace": "training", "uid": f"uid-of-{name}", "labels": {"job": "one"}}
    return {"metadata": metadata, "spec": spec, "status": {"podIP": address} if address else {}}


def service(name: str, namespace: str = "training", **selector: str) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"selector": selector or None}}


def test_pods_have_the_names_that_cluster_dns_gives_them() -> None:
    pods = [
        pod("one-0", "10.244.1.1", hostname="node-0", subdomain="one"),
        pod("worker-0", "10.244.1.2"),
        pod("waits", ""),
    ]
    services = [
        service("one", job="one"),
        service("one", "elsewhere", job="one"),
        service("other", job="two"),
    ]
    services.append(service("api"))
    first, second, third = hosts(pods, services).splitlines()
    assert first == "127.0.0.1 localhost"
    base = ["one", "one.training", "one.training.svc", "one.training.svc.cluster.local"]
    assert third.split() == ["10.244.1.2", "worker-0", *base]
    assert second.split()[:3] == ["10.244.1.1", "one-0", "node-0"]
    assert set(second.split()[3:]) == {*base, *(f"node-0.{name}" for name in base)}


def test_an_address_is_one_of_a_host() -> None:
    assert address_of("00ff0000-0000") == "10.244.1.3"
    assert address_of("0a000000-0000") == "10.244.10.1"


def test_what_is_mounted_on_the_root_is_given_to_containers_but_not_what_hides_below() -> None:
    table = (
        "overlay / overlay rw 0 0\nproc /proc proc rw 0 0\nproc /proc/sys proc ro 0 0\n"
        "tmpfs /run tmpfs rw 0 0\n"
        "tmpfs /tmp tmpfs rw 0 0\ntmpfs /tmp/deep tmpfs rw 0 0\n/dev/sda /my\\040disk ext4 rw 0 0\n"
    )
    assert mounted(table) == ["/proc", "/my disk"]


def test_a_bind_makes_its_target_in_the_containers_root(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert bind(tmp_path, "/a b", read_only=True) == (
        f"[ -e './a b' ] || {{ mkdir -p './a b'; }}; mount --bind -o ro {tmp_path} './a b'"
    )
    assert "touch ./etc/one" in bind(tmp_path / "file", "/etc/one", read_only=False)
    (tmp_path / "link").symlink_to("/elsewhere")
    assert "mkdir -p ./elsewhere/a" in bind(tmp_path, f"{tmp_path}/link/a", read_only=True)


def test_a_link_does_not_lead_out_of_the_containers_root(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "var-run").symlink_to(tmp_path / "run")
    line = bind(tmp_path, f"{tmp_path}/var-run/secrets", read_only=True)
    assert line.endswith(f"mount --bind -o ro {tmp_path} .{tmp_path}/run/secrets")


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(NAME)", "value"),
        ("$$(NAME)", "$(NAME)"),
        ("$(OTHER)", "$(OTHER)"),
        ("$NAME", "$NAME"),
        ("a $(NAME) b $(NAME)", "a value b value"),
    ],
)
def test_variables_are_expanded_as_kubernetes_does(text: str, expanded: str) -> None:
    assert expand(text, {"NAME": "value"}) == expanded


def test_fields_of_the_pod_are_those_of_the_downward_api() -> None:
    found = Variables(None, pod("one-0", ""), {"status.podIP": "10.244.1.1"})  # type: ignore[arg-type]
    assert found.field("metadata.labels['job']") == "one"
    assert found.field("metadata.labels['absent']") == ""
    assert found.field("metadata.labels") == 'job="one"\n'
    assert found.field("status.podIP") == "10.244.1.1"
    with pytest.raises(ValueError, match=r"does not know the field spec\.priority"):
        found.field("spec.priority")


@pytest.mark.parametrize(("lines", "at"), [(0, 9), (1, 6), (2, 2), (9, 0)])
def test_the_last_lines_of_a_log(lines: int, at: int) -> None:
    assert _tail(b"a\nbcd\nef\n", lines) == at


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--image=*=/nowhere/image", "argument --image: '*=/nowhere/image': give NAME=DIR"),
        ("--claim=fsx-claim", "argument --claim: 'fsx-claim': give NAME=DIR, DIR a folder that is there"),
        ("--node=/nowhere/node.json", "argument --node: '/nowhere/node.json' is not a file"),
    ],
)
def test_what_is_not_there_is_named(
    word: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["node", "--kubeconfig", __file__, "--name=a", "--folder=/nowhere/folder", word]
    monkeypatch.setattr("sys.argv", given)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert not Path("/nowhere").exists()
