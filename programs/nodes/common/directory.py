"""Users and groups from the directory: SSSD queries it over TLS, sshd queries SSSD for their keys."""

from __future__ import annotations

import json
from pathlib import Path

from .configuration import Directory
from .node import Node, StepError, last_lines
from .packages import ensure_packages
from .people import EVERYONE

PACKAGES = ("sssd-ldap", "libnss-sss", "libpam-sss")
AUTHORITY = "/etc/trainforge/directory-ca.pem"
SSSD = "/etc/sssd/sssd.conf"
SSHD = "/etc/ssh/sshd_config.d/40-trainforge-directory.conf"
GROUP_CACHE_SECONDS = 300
# The directory may be replaced at this moment; a new server is up within a few minutes.
WAIT_SECONDS = 300

_NEXT = (
    "check that the stack of the directory is deployed, that the node's role may read what it names, and that "
    "the security group of the directory lets this node in"
)


def ensure_directory(node: Node, directory: Directory, home_path: str) -> None:
    """Join the node to the directory, and see that it answers.

    Raises:
        StepError: packages, the certificate or the password are unavailable, or the directory does not answer.
    """
    node.require("aws", "use an image that has the AWS CLI, as HyperPod's own images do")
    ensure_packages(node, PACKAGES)
    before = node.changes
    for folder in (AUTHORITY, SSSD, SSHD):
        node.path(folder).parent.mkdir(parents=True, exist_ok=True)
    node.write_file(AUTHORITY, _authority(node, directory), 0o644, check=_check_certificate)
    node.write_file(SSSD, configuration(directory, _password(node, directory), home_path), 0o600)
    if node.changes != before:
        node.run("pam-auth-update", "--enable", "mkhomedir", "sss", next_step="see 'pam-auth-update --help'")
        node.run("systemctl", "enable", "sssd.service", next_step=_NEXT)
        node.run("systemctl", "restart", "sssd.service", next_step="see 'journalctl -u sssd' on the node")
    _ensure_keys(node)
    wait_for_sssd(node, "directory")


def configuration(directory: Directory, password: str, home_path: str) -> str:
    """Return sssd.conf."""
    return "\n".join(
        (
            "# Written by trainforge's node set-up.",
            "[sssd]",
            "services = nss, pam, ssh",
            "domains = directory",
            "",
            "[domain/directory]",
            "id_provider = ldap",
            "auth_provider = ldap",
            "access_provider = permit",
            f"ldap_uri = {directory.uri}",
            f"ldap_search_base = {directory.suffix}",
            "ldap_schema = rfc2307",
            f"ldap_default_bind_dn = {directory.reader}",
            "ldap_default_authtok_type = password",
            f"ldap_default_authtok = {password}",
            f"ldap_tls_cacert = {AUTHORITY}",
            "ldap_tls_reqcert = hard",
            "ldap_user_ssh_public_key = sshPublicKey",
            f"override_homedir = {home_path.rstrip('/')}/%u",
            "default_shell = /bin/bash",
            # Who has logged in before still can while the directory is being replaced.
            "cache_credentials = true",
            "enumerate = false",
            # By default a new member of a group is unknown for 90 minutes, and would have no home so long.
            f"entry_cache_group_timeout = {GROUP_CACHE_SECONDS}",
            "",
        )
    )


def _authority(node: Node, directory: Directory) -> str:
    what = "the certificate of the directory's authority"
    return _fetched(node, directory, what, "s3", "cp", directory.authority, "-")


def _password(node: Node, directory: Directory) -> str:
    secret = ("--secret-id", directory.password_secret, "--output", "json")
    what = "the password for the directory"
    text = _fetched(node, directory, what, "secretsmanager", "get-secret-value", *secret)
    try:
        password = json.loads(text)["SecretString"]
    except (ValueError, KeyError) as error:
        raise StepError("the answer of Secrets Manager holds no password", _NEXT) from error
    if not password or not password.isalnum():
        raise StepError("the password for the directory has characters other than letters and digits", _NEXT)
    return str(password)


def _fetched(node: Node, directory: Directory, what: str, *command: str) -> str:
    """Return what an AWS command prints; it is never logged, for it may be a secret."""

    def attempt() -> str:
        result = node.query("aws", *command, "--region", directory.region, timeout_seconds=60)
        if result.returncode != 0:
            reason = f"{what} cannot be read: 'aws {command[0]} {command[1]}' exited {result.returncode}: "
            raise StepError(reason + last_lines(result), _NEXT, retryable=True)
        return result.stdout

    return node.retry(attempt)


def _check_certificate(path: Path) -> None:
    if "-----BEGIN CERTIFICATE-----" not in path.read_text(encoding="utf-8"):
        raise StepError("what the directory publishes is no certificate in PEM", _NEXT)


def _ensure_keys(node: Node) -> None:
    """Let sshd take a person's keys from the directory, beside those in the home."""
    before = node.changes
    text = (
        "# Written by trainforge's node set-up.\n"
        "AuthorizedKeysCommand /usr/bin/sss_ssh_authorizedkeys\n"
        "AuthorizedKeysCommandUser nobody\n"
    )
    node.write_file(SSHD, text, 0o644)
    if node.changes != before:
        node.run("systemctl", "reload", "ssh.service", next_step="see 'sshd -t' on the node")


def wait_for_sssd(node: Node, domain: str) -> None:
    """Wait until SSSD returns the directory's users; `domain` is the name of its section in sssd.conf.

    Raises:
        StepError: it does not after 300 seconds.
    """

    def answered() -> bool:
        return node.query("getent", "-s", "sss", "group", EVERYONE).returncode == 0

    if not node.wait_until(
        answered, what=f"the directory to return the group '{EVERYONE}'", seconds=WAIT_SECONDS
    ):
        raise StepError(
            f"the directory does not answer: it has not returned its group '{EVERYONE}' within {WAIT_SECONDS} s",
            f"see 'sssctl domain-status {domain}' and 'journalctl -u sssd' on the node; " + _NEXT,
        )
    node.log(f"the directory answers: it has the group '{EVERYONE}'")
