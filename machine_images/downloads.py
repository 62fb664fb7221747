"""Records the SHA-256 of the downloads of machine images, on a machine with internet access."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from catalog.machine_images import DOWNLOADS, Download

RECORDS = Path(__file__).resolve().parents[1] / "catalog" / "data" / "downloads.json"
"""The committed file of the digests."""

_SECONDS = 120
_BLOCK = 1 << 20
_VERIFY = Path(__file__).parent / "roles" / "download" / "files" / "verify_signature.sh"


class DownloadError(Exception):
    """A download that cannot be read, is not the recorded one, or that its vendor's key did not sign."""


def record(downloads: Iterable[Download] = DOWNLOADS, records: Path = RECORDS) -> list[str]:
    """Record the digest of each download, and return a line for each.

    A vendor's signature is verified first, where a program can fetch the key. A recorded digest is compared and never
    replaced: another file under the same version is an error. Digests that catalog/versions holds are compared too.

    Raises:
        DownloadError: nothing is recorded then; the message has all that is wrong.
    """
    data = json.loads(records.read_text(encoding="utf-8"))
    day = datetime.now(UTC).date().isoformat()
    lines, errors = [], []
    for download in downloads:
        try:
            digest, how = _read(download)
        except DownloadError as error:
            errors.append(str(error))
            continue
        if download.sha256 and download.sha256 != digest:
            errors.append(
                f"download '{download.name}' {download.version} at '{download.url}' has the digest {digest}, and "
                f"{download.sha256} is recorded: find out who changed the file; to take it, remove the record first"
            )
        elif download.sha256:
            lines.append(f"{download.name} {download.version}: the file has the recorded digest")
        else:
            data["sha256"][download.name] = digest
            data["sources"][download.name] = (
                f"{download.version}: downloaded from {download.url} on {day}, {how}"
            )
            lines.append(f"{download.name} {download.version}: recorded {digest} ({how})")
    if errors:
        raise DownloadError("\n".join(errors))
    records.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return lines


def _read(download: Download) -> tuple[str, str]:
    """Return the digest of a file, and what verified it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "file"
        _fetch(download.url, file)
        signature = download.signature
        how = "no signature was checked"
        if signature and signature.key_url:
            _fetch(f"{download.url}.sig", Path(f"{file}.sig"))
            _fetch(signature.key_url, Path(f"{file}.key"))
            done = subprocess.run(  # noqa: S603 our own script, a list, never a shell
                ["/bin/sh", str(_VERIFY), str(file), str(signature.key)],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise DownloadError(f"download '{download.name}' {download.version}: {done.stderr.strip()}")
            how = f"its signature is of {signature.key}"
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest(), how


def _fetch(url: str, path: Path) -> None:
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer, path.open("wb") as stream:  # noqa: S310 the catalog's
            while block := answer.read(_BLOCK):
                stream.write(block)
    except OSError as error:
        raise DownloadError(f"'{url}' cannot be read: {error}") from error
