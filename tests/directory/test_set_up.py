"""The directory's set-up against Debian's slapd: people, TLS, what is refused, what survives, what changes nothing."""

from __future__ import annotations

import copy
import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.directory.server import (
    CONTENT,
    HOST,
    KEY,
    PASSWORD,
    READER,
    SUFFIX,
    DirectoryServer,
    serving,
)
from tests.programs import not_available, require_program, require_root
from trainforge.programs import DIRECTORY_SERVER

_LIBRARY = "libnss_wrapper.so"
ANA = f"uid=ana,ou=people,{SUFFIX}"


@pytest.fixture
def needed() -> None:
    for program, package in (("slapd", "slapd"), ("ldapsearch", "ldap-utils"), ("openssl", "openssl")):
        require_program(program, f"Debian and Ubuntu have it: apt-get install {package}")
    if not list(Path("/usr/lib").glob(f"*/{_LIBRARY}")):
        not_available(f"'{_LIBRARY}' is not installed; apt-get install libnss-wrapper")
    require_root("starting slapd, which becomes openldap,")


@pytest.fixture
def server(tmp_path: Path, needed: None) -> Iterator[DirectoryServer]:
    with serving(tmp_path / "server") as running:
        yield running


def changes(output: str) -> list[str]:
    return [line for line in output.splitlines() if "changed: " in line]


def search(server: DirectoryServer, base: str, *arguments: str, **more: Any) -> str:
    done = server.ldap("ldapsearch", "-LLL", "-o", "ldif-wrap=no", "-b", base, *arguments, **more)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def with_content(**values: Any) -> dict[str, Any]:
    return copy.deepcopy(CONTENT) | values


def test_people_and_groups_are_those_of_the_configuration(server: DirectoryServer) -> None:
    assert "changed=11" in server.refresh()
    found = search(server, f"ou=people,{SUFFIX}")
    for line in (
        "uid: ana",
        "uidNumber: 2001",
        "gidNumber: 2001",
        f"sshPublicKey: {KEY}",
        "sn:: TcO8bGxlcg==",
    ):
        assert line in found.splitlines(), found
    groups = search(server, f"ou=groups,{SUFFIX}", "cn=team", "memberUid", "gidNumber")
    assert {"gidNumber: 3001", "memberUid: ana", "memberUid: bo"} <= set(groups.splitlines())
    everyone = search(server, f"ou=groups,{SUFFIX}", "cn=everyone", "memberUid")
    assert {"memberUid: ana", "memberUid: bo"} <= set(everyone.splitlines())
    assert "gidNumber: 2002" in search(server, f"ou=groups,{SUFFIX}", "cn=bo", "gidNumber")


def test_a_second_run_changes_nothing_and_restarts_nothing(server: DirectoryServer) -> None:
    server.refresh()
    before = (server.state / "pid").read_text()
    content = {path: path.read_bytes() for path in sorted(server.directory.rglob("tls/*"))}
    second = server.refresh()
    assert changes(second) == []
    assert "changed=0" in second
    assert (server.state / "pid").read_text() == before
    assert {path: path.read_bytes() for path in sorted(server.directory.rglob("tls/*"))} == content
    assert (server.state / "machine").read_text().split() == ["fetch", "publish"] * 2


def test_the_certificate_is_of_the_host_and_of_its_authority(server: DirectoryServer) -> None:
    server.refresh()
    context = ssl.create_default_context(cafile=str(server.directory / "tls" / "ca.pem"))
    with context.wrap_socket(
        socket.create_connection(("127.0.0.1", server.tls_port)), server_hostname=HOST
    ) as channel:
        assert channel.version() in ("TLSv1.2", "TLSv1.3")
    with pytest.raises(ssl.SSLCertVerificationError):
        context.wrap_socket(
            socket.create_connection(("127.0.0.1", server.tls_port)), server_hostname="ldap.other.internal"
        )
    refused = server.ldap("ldapwhoami", LDAPTLS_CACERT="/etc/ssl/certs/ca-certificates.crt")
    assert refused.returncode != 0


def test_an_authority_signs_for_its_host_alone(server: DirectoryServer, tmp_path: Path) -> None:
    server.refresh()
    tls = server.directory / "tls"
    for name, code in ((HOST, 0), ("ldap.other.internal", 2)):
        extension, request, certificate = tmp_path / "e", tmp_path / "r", tmp_path / "c"
        extension.write_text(f"subjectAltName=DNS:{name}\n")
        for command in (
            f"req -newkey rsa:2048 -nodes -keyout {tmp_path}/k -subj /CN={name} -out {request}",
            f"x509 -req -in {request} -CA {tls}/authority.pem -CAkey {tls}/authority.key "
            f"-CAserial {tmp_path}/s -CAcreateserial -extfile {extension} -out {certificate}",
        ):
            subprocess.run(["openssl", *command.split()], check=True, capture_output=True)
        verified = subprocess.run(
            ["openssl", "verify", "-CAfile", f"{tls}/authority.pem", str(certificate)],
            check=False,
            capture_output=True,
        )
        assert verified.returncode == code, verified.stderr


def test_a_bind_over_tls_works_and_a_plain_one_is_refused(server: DirectoryServer) -> None:
    server.refresh()
    assert server.ldap("ldapwhoami").stdout.strip() == f"dn:{READER}"
    plain = ("-x", "-H", f"ldap://{HOST}:{server.plain_port}", "-D", READER, "-w", PASSWORD)
    refused = server.client("ldapwhoami", *plain)
    assert refused.returncode == 13, refused.stderr
    assert "confidentiality required" in refused.stderr
    # The same door after StartTLS is as good as the other.
    assert server.client("ldapwhoami", "-ZZ", *plain).returncode == 0


def test_anonymous_reads_are_refused_and_no_password_is_readable(server: DirectoryServer) -> None:
    server.refresh()
    assert server.ldap("ldapsearch", "-b", SUFFIX, name="").returncode == 48
    assert server.ldap("ldapwhoami", password="wrong").returncode == 49
    set_password(server, "ana", "first-word")
    assert "userPassword" not in search(server, SUFFIX)
    own = server.ldap("ldapsearch", "-LLL", "-b", ANA, name=ANA, password="first-word")
    assert "uid: ana" in own.stdout
    assert "userPassword" not in own.stdout
    assert "uid: bo" not in server.ldap("ldapsearch", "-b", SUFFIX, name=ANA, password="first-word").stdout


def set_password(server: DirectoryServer, name: str, password: str) -> None:
    entry = f"uid={name},ou=people,{SUFFIX}"
    assert server.as_root("ldappasswd", "-s", password, entry).returncode == 0


def test_a_person_changes_the_own_password_and_no_more(server: DirectoryServer) -> None:
    server.refresh()
    set_password(server, "ana", "first-word")
    mine = {"name": ANA, "password": "first-word"}
    assert server.ldap("ldappasswd", "-s", "second-word", **mine).returncode == 0
    assert server.ldap("ldapwhoami", name=ANA, password="second-word").returncode == 0
    refused = server.ldap(
        "ldappasswd", "-s", "x", f"uid=bo,ou=people,{SUFFIX}", name=ANA, password="second-word"
    )
    assert refused.returncode != 0
    stored = server.as_root("ldapsearch", "-LLL", "-b", ANA, "userPassword").stdout
    assert "userPassword::" in stored
    assert "second-word" not in stored


def test_a_new_server_finds_data_passwords_and_authority_on_the_volume(tmp_path: Path, needed: None) -> None:
    with serving(tmp_path / "first") as first:
        first.refresh()
        set_password(first, "ana", "kept-word")
        authority = (first.directory / "tls" / "ca.pem").read_bytes()
    with serving(tmp_path / "second") as second:
        shutil.rmtree(second.directory)
        shutil.copytree(first.directory, second.directory)
        output = second.refresh()
        assert "changed=0" in output, output
        assert (second.directory / "tls" / "ca.pem").read_bytes() == authority
        assert second.ldap("ldapwhoami", name=ANA, password="kept-word").returncode == 0


def test_a_restart_keeps_all(server: DirectoryServer) -> None:
    server.refresh()
    set_password(server, "ana", "kept-word")
    server.stop()
    assert server.ldap("ldapwhoami").returncode != 0
    assert changes(server.refresh()) == []
    assert server.ldap("ldapwhoami", name=ANA, password="kept-word").returncode == 0


def test_people_come_change_and_go_with_the_configuration(server: DirectoryServer) -> None:
    server.refresh()
    set_password(server, "ana", "kept-word")
    users = [
        {"name": "ana", "uid": 2001, "full_name": "Ana Maria", "ssh_public_key": None},
        # The id of somebody who went is free in the same change.
        {"name": "cy", "uid": 2002, "full_name": None, "ssh_public_key": None},
    ]
    server.configure(with_content(users=users, groups=[{"name": "team", "gid": 3001, "members": ["cy"]}]))
    output = server.refresh()
    found = search(server, f"ou=people,{SUFFIX}")
    assert "cn: Ana Maria" in found
    assert "sshPublicKey" not in found
    assert "uid: bo" not in found
    assert "uid: cy" in found
    assert search(server, f"ou=groups,{SUFFIX}", "cn=team", "memberUid").count("memberUid:") == 1
    assert server.ldap("ldapwhoami", name=ANA, password="kept-word").returncode == 0
    assert len(changes(output)) == 7, output
    assert changes(server.refresh()) == []


def test_the_reader_s_password_follows_its_secret(server: DirectoryServer) -> None:
    server.refresh()
    server.give_password("an0therOne")
    assert len(changes(server.refresh())) == 1
    assert server.ldap("ldapwhoami", password="an0therOne").returncode == 0
    assert server.ldap("ldapwhoami").returncode == 49


def test_a_certificate_is_renewed_before_it_ends_and_the_authority_stays(server: DirectoryServer) -> None:
    server.refresh()
    tls = server.directory / "tls"
    authority, old = (tls / "ca.pem").read_bytes(), (tls / "server.pem").read_bytes()
    # One that ends in 29 days, by the same authority.
    extension = server.state / "extension"
    extension.write_text(f"subjectAltName=DNS:{HOST}\n")
    for command in (
        f"req -new -key {tls}/server.key -subj /CN={HOST} -out {server.state}/request",
        f"x509 -req -days 29 -in {server.state}/request -CA {tls}/authority.pem -CAkey {tls}/authority.key "
        f"-CAserial {server.state}/serial -CAcreateserial -extfile {extension} -out {tls}/server.pem",
    ):
        subprocess.run(["openssl", *command.split()], check=True, capture_output=True)
    output = server.refresh()
    assert "certificate of" in output
    assert (tls / "ca.pem").read_bytes() == authority
    assert (tls / "server.pem").read_bytes() != old
    assert server.ldap("ldapwhoami").returncode == 0


def test_a_given_certificate_takes_the_authority_s_place(server: DirectoryServer, tmp_path: Path) -> None:
    given = certificate(tmp_path, HOST)
    (server.given / "certificate.json").write_text(given)
    server.refresh()
    assert not (server.directory / "tls" / "authority.key").exists()
    assert server.ldap("ldapwhoami").returncode == 0
    assert changes(server.refresh()) == []


@pytest.mark.parametrize(
    ("name", "words"), [("ldap.other.internal", "is not one of"), (HOST, "private key given")]
)
def test_a_given_certificate_that_does_not_fit_is_refused_with_a_message(
    server: DirectoryServer, tmp_path: Path, name: str, words: str
) -> None:
    given = json.loads(certificate(tmp_path, name))
    if name == HOST:
        (tmp_path / "more").mkdir()
        given["private_key"] = json.loads(certificate(tmp_path / "more", HOST))["private_key"]
    (server.given / "certificate.json").write_text(json.dumps(given))
    done = server.run("refresh.sh")
    assert done.returncode != 0
    assert words in done.stderr
    assert "PRIVATE KEY" not in done.stdout + done.stderr


def certificate(folder: Path, name: str) -> str:
    """Return a certificate of another authority, as its secret holds it."""
    (folder / "extension").write_text(f"subjectAltName=DNS:{name}\n")
    for command in (
        f"req -x509 -newkey rsa:2048 -nodes -days 400 -subj /CN=authority -keyout {folder}/ca.key -out {folder}/ca",
        f"req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {folder}/key -out {folder}/request",
        f"x509 -req -days 90 -in {folder}/request -CA {folder}/ca -CAkey {folder}/ca.key -CAcreateserial "
        f"-extfile {folder}/extension -out {folder}/certificate",
    ):
        subprocess.run(["openssl", *command.split()], check=True, capture_output=True)
    parts = {"certificate": "certificate", "private_key": "key", "ca": "ca"}
    return json.dumps({key: (folder / file).read_text() for key, file in parts.items()})


def test_a_newer_program_finds_its_way_onto_an_old_volume(server: DirectoryServer) -> None:
    server.refresh()
    (server.directory / "configuration.ldif").write_text("an older program's\n")
    output = server.refresh()
    assert "configuration of slapd written" in output
    assert "uid: ana" in search(server, f"ou=people,{SUFFIX}")


def test_a_password_that_a_keeper_sets(server: DirectoryServer) -> None:
    server.refresh()
    for name, code in (("x y", 2), ("", 2)):
        done = subprocess.run(
            ["bash", str(DIRECTORY_SERVER / "password.sh"), name],
            env=server.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == code
        assert "usage" in done.stderr


def test_scripts_are_clean_under_shellcheck() -> None:
    shellcheck = require_program("shellcheck", "'make setup-dev' installs it from PyPI")
    scripts = sorted(str(path) for path in DIRECTORY_SERVER.glob("*.sh"))
    assert len(scripts) == 5
    done = subprocess.run([shellcheck, *scripts], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout
