"""The certificate of the directory's authority, and SSSD with it.

ParallelCluster writes sssd.conf and starts SSSD while a node initialises, before any action of ours: the user data of
its nodes runs chef's `init` before OnNodeStart (aws-parallelcluster, resources/*_node/user_data.sh), and `init`
includes `directory_service` (aws-parallelcluster-cookbook, environment/recipes/init.rb). SSSD has no certificate then
and returns no user, so it is started again.
"""

from __future__ import annotations

import os
import tempfile

from ..common.directory import wait_for_sssd
from ..common.node import Node, StepError

PATH = "/opt/trainforge/directory-ca.pem"
_SSSD = "/etc/sssd/sssd.conf"
DOMAIN = "default"
"""The section of ParallelCluster's sssd.conf (cookbook, templates/directory_service/sssd.conf.erb)."""


def ensure_certificate(node: Node, url: str) -> None:
    """Copy the certificate from the bucket, unless it is here as it is there, and have SSSD use it.

    Raises:
        StepError: it cannot be read five times in a row, or is no certificate; or SSSD returns no user with it.
    """
    node.ensure_directory(os.path.dirname(PATH), 0o755)
    with tempfile.TemporaryDirectory() as folder:
        fetched = f"{folder}/certificate"
        node.retry(
            lambda: node.run(
                *("aws", "s3", "cp", "--only-show-errors", url, fetched),
                next_step="see that the object is there and that the nodes' role may read it",
                retryable_codes=None,
            )
        )
        with open(fetched, encoding="utf-8", errors="replace") as stream:
            text = stream.read()
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise StepError(f"'{url}' is no certificate in PEM form", "put the authority's certificate there")
    before = node.changes
    node.write_file(PATH, text, 0o644)
    if not node.path(_SSSD).exists():
        node.log(f"'{_SSSD}' is not there yet: SSSD starts with the certificate")
        return
    if node.changes != before:
        node.run("systemctl", "restart", "sssd.service", next_step="see 'journalctl -u sssd' on the node")
    wait_for_sssd(node, DOMAIN)
