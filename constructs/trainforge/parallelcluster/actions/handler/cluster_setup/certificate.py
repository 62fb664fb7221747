"""The certificate of the directory's authority, there before ParallelCluster configures sssd."""

from __future__ import annotations

import os
import tempfile

from node_setup.node import Node, StepError

PATH = "/opt/trainforge/directory-ca.pem"


def ensure_certificate(node: Node, url: str) -> None:
    """Copy the certificate from the bucket, unless it is here as it is there.

    Raises:
        StepError: it cannot be read five times in a row, or is no certificate.
    """
    node.ensure_directory(os.path.dirname(PATH), 0o755)
    with tempfile.TemporaryDirectory() as folder:
        fetched = f"{folder}/certificate"
        node.retry(
            lambda: node.run(
                *("aws", "s3", "cp", "--only-show-errors", url, fetched),
                next_step="see that the object is there and that the nodes' role may read it",
                passing_codes=None,
            )
        )
        with open(fetched, encoding="utf-8", errors="replace") as stream:
            text = stream.read()
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise StepError(f"'{url}' is no certificate in PEM form", "put the authority's certificate there")
    node.write_file(PATH, text, 0o644)
