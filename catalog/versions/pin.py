"""The type of a pinned version, and the comparison of versions."""

from __future__ import annotations

import re
from functools import lru_cache

UNKNOWN = "unknown"
"""The value in place of a digest that no source states."""

_IMAGE = re.compile(r"[a-z0-9][\w.-]*(?:/[\w.-]+)+(?::[\w.-]+|@sha256:[0-9a-f]{64})", re.ASCII)


class Pin(str):
    """A pinned version: the text of the version, with its source.

    `name` is the software, as its makers write it, and `source` where the version was read. A leading `v`
    of a tag is left out.
    """

    __slots__ = ("name", "source")
    name: str
    source: str

    def __new__(cls, name: str, version: str, source: str) -> Pin:
        """Make the pin of `name` at `version`, read from `source`."""
        pin = super().__new__(cls, version)
        pin.name = name
        pin.source = source
        return pin

    @property
    def is_image(self) -> bool:
        """True for the reference of a container image, with its tag or digest."""
        return _IMAGE.fullmatch(self) is not None

    @property
    def digest(self) -> str:
        """The digest by which an image is pinned, as `sha256:...`; UNKNOWN for one that is pinned by its tag alone."""
        return self.partition("@")[2] or UNKNOWN


PREDECESSOR = "predecessor repository (awslabs/awsome-distributed-ai, July 2026)"
WHEELS = "read in the package's own metadata on 2026-11-24"
ECR = "tag as public Dockerfiles on GitHub name it, read 2026-11-24; not pulled here, unverified"
"""Sources that pins of several files name."""

Version = tuple[int, ...]
"""A version's numbers without trailing zeros, so that 1.18 equals 1.18.0."""

_NUMBERS = re.compile(r"v?(\d+(?:\.\d+)*)", re.ASCII)


@lru_cache(maxsize=256)
def version(text: str) -> Version:
    """Return the numbers of a version, to compare: `v2.30.4-1`, `1.7.4-aws` and `2.4.0amzn1.0` are fine.

    What follows the dotted numbers is a packager's suffix and does not count.

    Raises:
        ValueError: the text does not begin with a number.
    """
    found = _NUMBERS.match(text.strip())
    if found is None:
        raise ValueError(f"version '{text}' is not a version (expected numbers, such as '1.18.0')")
    numbers = [int(number) for number in found[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
