"""HyperPod's nodes and the directory: SSSD's settings as the real SSSD checks them, and messages of failures."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.programs import require_program, require_root
from tests.unit.hyperpod_node import HyperPodNode
from tests.unit.node_folder import PATIENT

SECRET = "arn:aws:secretsmanager:us-west-2:111122223333:secret:reader-AbCdEf"
DIRECTORY: dict[str, Any] = {
    "uri": "ldaps://ldap.demo.internal",
    "suffix": "dc=demo,dc=internal",
    "reader": "cn=reader,dc=demo,dc=internal",
    "password_secret": SECRET,
    "authority": "s3://sagemaker-demo/directory/published/ca.pem",
    "region": "us-west-2",
}
SSSD, AUTHORITY = "/etc/sssd/sssd.conf", "/etc/trainforge/directory-ca.pem"
SSHD = "/etc/ssh/sshd_config.d/40-trainforge-directory.conf"
PASSWORD = "w0rdOfTheReader"
AWS = f"""case "$*" in
"s3 cp s3://sagemaker-demo/directory/published/ca.pem - --region us-west-2")
    [ ! -e "$STATE/no-authority" ] || {{ echo 'fatal error: not found' >&2; exit 1; }}
    printf -- '-----BEGIN CERTIFICATE-----\\nMIIB\\n-----END CERTIFICATE-----\\n' ;;
"secretsmanager get-secret-value --secret-id {SECRET} "*) echo '{{"SecretString": "{PASSWORD}"}}' ;;
*) exit 9 ;;
esac"""


@pytest.fixture
def node(tmp_path: Path) -> HyperPodNode:
    made = HyperPodNode(tmp_path)
    made.program("aws", AWS)
    made.program("pam-auth-update", "exit 0")
    # SSSD knows its people; what is not asked of it is in files.
    made.program("getent", '[ "$*" = "-s sss group everyone" ] && [ ! -e "$STATE/unknown" ] || exit 2')
    return made


def settings(**changes: Any) -> dict[str, Any]:
    return {"directory": DIRECTORY | changes, "home_path": "/home"}


def test_a_node_is_joined_and_the_password_is_root_s_and_in_no_log(node: HyperPodNode) -> None:
    outcome = node.run(settings())
    assert outcome.code == 0, outcome.output
    text = node.read(SSSD)
    assert node.mode(SSSD) == 0o600
    for line in (
        "ldap_uri = ldaps://ldap.demo.internal",
        "ldap_search_base = dc=demo,dc=internal",
        "ldap_tls_reqcert = hard",
        f"ldap_tls_cacert = {AUTHORITY}",
        f"ldap_default_authtok = {PASSWORD}",
        "override_homedir = /home/%u",
        # A new member of the group of all people gets a home; 90 minutes are SSSD's default.
        "entry_cache_group_timeout = 300",
    ):
        assert line in text.splitlines()
    assert PASSWORD not in outcome.output
    assert "BEGIN CERTIFICATE" in node.read(AUTHORITY)
    assert "sss_ssh_authorizedkeys" in node.read(SSHD)
    assert node.calls("pam-auth-update") == ["pam-auth-update --enable mkhomedir sss"]
    assert "systemctl restart sssd.service" in node.calls("systemctl")
    assert "it has the group 'everyone'" in outcome.output
    installed = " ".join(node.calls("apt-get"))
    assert all(package in installed for package in ("sssd-ldap", "libnss-sss", "libpam-sss"))


def test_the_settings_are_ones_that_sssd_takes(node: HyperPodNode, tmp_path: Path) -> None:
    program = require_program("sssctl", "Debian and Ubuntu have it: apt-get install sssd-tools")
    require_root("checking settings with sssctl")
    node.run(settings())
    path = tmp_path / "sssd.conf"
    (tmp_path / "snippets").mkdir()

    def checked(text: str) -> subprocess.CompletedProcess[str]:
        path.write_text(text)
        path.chmod(0o600)
        command = [program, "config-check", "-c", str(path), "-s", str(tmp_path / "snippets")]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    text = node.read(SSSD)
    assert "Issues identified by validators: 0" in checked(text).stdout
    # So that a green check says something.
    assert checked(text.replace("ldap_schema", "ldap_shema")).returncode != 0


def test_a_second_run_changes_and_restarts_nothing(node: HyperPodNode) -> None:
    node.run(settings())
    before = len(node.calls("systemctl"))
    second = node.run(settings())
    assert (second.code, second.counts["changed"]) == (0, 0), second.output
    assert len(node.calls("systemctl")) == before


def test_an_authority_that_is_not_there_yet_is_waited_for(node: HyperPodNode) -> None:
    (node.state / "no-authority").touch()
    outcome = node.run(settings())
    assert outcome.code == 1
    [failure] = outcome.failures
    assert "the certificate of the directory's authority cannot be read" in failure
    assert "attempt 5 of 5" in failure
    assert "stack of the directory is deployed" in failure


def test_a_directory_that_does_not_answer_fails_the_node_with_a_message(node: HyperPodNode) -> None:
    (node.state / "unknown").touch()
    outcome = node.run(settings())
    assert outcome.code == 1
    assert "the directory does not answer: it has not returned its group 'everyone'" in outcome.failures[0]


def test_one_that_answers_late_is_waited_for(node: HyperPodNode) -> None:
    node.program("getent", 'echo x >>"$STATE/asked"; [ "$(wc -l <"$STATE/asked")" -gt 2 ] || exit 2')
    outcome = node.run(settings(), PATIENT)
    assert outcome.code == 0, outcome.output
    assert "waiting for the directory to return the group 'everyone'" in outcome.output


def test_an_image_without_the_aws_cli_is_reported(node: HyperPodNode) -> None:
    (node.bin / "aws").unlink()
    outcome = node.run(settings())
    assert "program 'aws' is not installed" in outcome.failures[0]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"uri": "ldaps://x\nldap_tls_reqcert = never"}, "directory.uri"),
        ({"reader": "cn=a b"}, "directory.reader"),
        ({"more": 1}, "key 'more' is unknown"),
    ],
)
def test_settings_that_could_become_others_are_refused(
    node: HyperPodNode, changes: dict[str, Any], problem: str
) -> None:
    outcome = node.run(settings(**changes))
    assert outcome.code == 2
    assert problem in outcome.output
    assert not (node.root / SSSD.lstrip("/")).exists()
