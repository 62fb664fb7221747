"""The exporters as one file that nodes and an image run: the program, its library, and the records of its metrics."""

from __future__ import annotations

import hashlib
import io
import zipfile
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import prometheus_client

from catalog.metrics import OWN_EXPORTERS
from catalog.versions import EXPORTERS_BASE
from trainforge.programs import EXPORTERS
from trainforge.workload_image import BASE_ARGUMENT, BuildContext

ARCHIVE = "exporters.pyz"
"""The file's name. `python3 exporters.pyz efa --port PORT` runs an exporter; Python 3.9 is new enough."""

UNITS = EXPORTERS / "units"
"""The folder of the systemd units: `trainforge-NAME-exporter.service`, for the file in FOLDER."""

FOLDER = "/opt/trainforge/exporters"
"""The folder of the file on a node."""

_DOCKERFILE = "Dockerfile"
_LIBRARY = "prometheus_client"
_LIBRARY_LEFT_OUT = ("aiohttp", "django", "twisted")
"""Packages of the library for servers of others, which the exporters do not use."""

_MAIN = "import sys\nfrom exporters.__main__ import main\nsys.exit(main())\n"
_TIME = (1980, 1, 1, 0, 0, 0)
"""The first time that a zip file can hold: the same files make the same archive."""

_MODE = 0o644 << 16


def archive() -> bytes:
    """Return the content of the file; the same for the same sources."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in sorted(_members().items()):
            member = zipfile.ZipInfo(name, _TIME)
            member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, _MODE
            target.writestr(member, data)
    return content.getvalue()


def digest() -> str:
    """Return the SHA-256 of the file, in hexadecimal digits."""
    return hashlib.sha256(archive()).hexdigest()


@cache
def staged() -> Path:
    """Return a folder with the file and its Dockerfile, which is there until this process ends."""
    folder = Path(_temporary().name)
    (folder / ARCHIVE).write_bytes(archive())
    (folder / _DOCKERFILE).write_bytes((EXPORTERS / _DOCKERFILE).read_bytes())
    return folder


def image_context() -> BuildContext:
    """Return the build context of the exporters' image."""
    return BuildContext(
        folder=staged(),
        dockerfile=_DOCKERFILE,
        includes=(ARCHIVE,),
        arguments={BASE_ARGUMENT: str(EXPORTERS_BASE)},
    )


def _members() -> dict[str, bytes]:
    """Return the files of the archive by their names in it."""
    members = {"__main__.py": _MAIN.encode()}
    for path in EXPORTERS.rglob("*.py"):
        members[f"exporters/{path.relative_to(EXPORTERS).as_posix()}"] = path.read_bytes()
    library = Path(prometheus_client.__file__).parent
    for path in library.rglob("*.py"):
        relative = path.relative_to(library)
        if relative.parts[0] not in _LIBRARY_LEFT_OUT:
            members[f"{_LIBRARY}/{relative.as_posix()}"] = path.read_bytes()
    records = EXPORTERS.parents[1] / "catalog" / "data" / "metrics"
    for name in OWN_EXPORTERS:
        members[f"exporters/records/{name}.json"] = (records / f"{name}.json").read_bytes()
    return members


@cache
def _temporary() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="trainforge-exporters-")
