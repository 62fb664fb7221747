"""Debian's list of packages for a root, cut to those that roles name and what these depend on.

apt reads its list in every task: with all of Debian's packages that took more than half of the tests' time. Packages
themselves come from Debian's mirror, and apt compares each with the digest in the list, which is of the list that
debootstrap verified.
"""

from __future__ import annotations

import functools
import http.server
import re
import threading
from collections.abc import Iterable
from pathlib import Path

from tests.machine_images.vendors import Quiet, Vendors

SUITE = "trixie"
_WORD = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_KEY = "usr/share/keyrings/short-list.asc"


class ShortList:
    """The short list on an address of its own, which sends apt to the mirror for packages; a root is told of it."""

    def __init__(self, root: Path, vendors: Vendors, texts: Iterable[str]) -> None:
        """`texts` name packages: those of Debian's among their words are kept, with their dependencies.

        Raises:
            ValueError: debootstrap left another source of packages, or no list of packages, than is expected.
        """
        source = root / "etc" / "apt" / "sources.list"
        found = re.search(rf"^deb (\S+) {SUITE} main$", source.read_text(), re.MULTILINE)
        lists = list((root / "var" / "lib" / "apt" / "lists").glob("*_main_binary-amd64_Packages"))
        if found is None or len(lists) != 1:
            raise ValueError(
                f"debootstrap left {source.read_text()!r} and {len(lists)} lists of packages in {root}"
            )
        words = {word for text in texts for word in _WORD.findall(text)}
        site = vendors.folder / "debian"
        self.packages = cut(lists[0].read_text(encoding="utf-8"), words)
        top = site / "dists" / SUITE
        vendors.index(top, "main/binary-amd64/Packages", "\n\n".join(self.packages.values()) + "\n", SUITE)
        lists[0].unlink()
        handler = functools.partial(_Mirror, found[1].rstrip("/"), directory=str(site))
        # Not the vendors' address: roles give packages from there the lowest priority.
        self._server = http.server.ThreadingHTTPServer(("127.0.0.2", 0), handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        (root / _KEY).write_bytes((vendors.site / "key.asc").read_bytes())
        url = f"http://127.0.0.2:{self._server.server_address[1]}"
        source.write_text(f"deb [signed-by=/{_KEY}] {url} {SUITE} main\n")

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()


def cut(listing: str, words: set[str]) -> dict[str, str]:
    """Return the paragraphs of those packages that words name and of what they depend on, by name.

    Of alternatives the first that is a package is kept, and every package that provides a name that no package has.
    """
    paragraphs = {
        part.partition("\n")[0].removeprefix("Package: "): part for part in listing.strip().split("\n\n")
    }
    providers: dict[str, list[str]] = {}
    for name, part in paragraphs.items():
        for provided in _names(part, "Provides"):
            providers.setdefault(provided[0], []).append(name)
    kept: dict[str, str] = {}
    pending = sorted(words & paragraphs.keys())
    while pending:
        name = pending.pop()
        if name in kept:
            continue
        kept[name] = paragraphs[name]
        for alternatives in (*_names(kept[name], "Pre-Depends"), *_names(kept[name], "Depends")):
            real = [one for one in alternatives if one in paragraphs]
            pending += real[:1] or [one for virtual in alternatives for one in providers.get(virtual, ())]
    return kept


def _names(paragraph: str, field: str) -> list[list[str]]:
    """Return the names in a field of a package's relations, alternatives together, without versions."""
    # Most paragraphs lack most fields: a search by regular expression would take ten times as long.
    _, found, rest = paragraph.partition(f"\n{field}: ")
    groups = rest.partition("\n")[0].split(",") if found else []
    return [[re.split(r"[ :(]", one.strip(), maxsplit=1)[0] for one in group.split("|")] for group in groups]


class _Mirror(Quiet):
    def __init__(self, mirror: str, *arguments: object, directory: str) -> None:
        self._mirror = mirror
        super().__init__(*arguments, directory=directory)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Serve the list, and send away who asks for a package."""
        if not self.path.startswith("/pool/"):
            super().do_GET()
            return
        self.send_response(302)
        self.send_header("Location", self._mirror + self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()
