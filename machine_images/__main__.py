"""`python -m machine_images WORD`: writes and checks the files that playbooks and Packer take, records digests."""

from __future__ import annotations

import sys
from pathlib import Path

from catalog.machine_images import MACHINE_IMAGES, unrecorded
from machine_images import downloads, lock, packer

_WORDS = ("write", "check", "payload", "record", "unrecorded", "name NAME")
_NAMES = [image.name for image in MACHINE_IMAGES]


def generated() -> dict[Path, str]:
    """Return the content of every file that is written from the catalog, by its path."""
    return {lock.LOCK: lock.text(), **packer.texts()}


def stale() -> list[Path]:
    """Return the files that differ from the catalog, are missing, or are of an image that is gone."""
    expected = generated()
    differ = [path for path, text in expected.items() if not path.exists() or path.read_text("utf-8") != text]
    return [*differ, *(path for path in sorted(packer.FOLDER.glob("*")) if path not in expected)]


def main(words: list[str]) -> int:
    """Run one command; the exit code is 2 for a mistake, 1 for a stale file."""
    match words:
        case ["write"]:
            for path in stale():
                if path not in generated():
                    path.unlink()
            packer.FOLDER.mkdir(exist_ok=True)
            for path, text in generated().items():
                path.write_text(text, encoding="utf-8")
        case ["check"]:
            for path in stale():
                _say(f"{path.name} differs from the catalog: 'make machine-images' writes it")
            return 1 if stale() else 0
        case ["payload"]:
            # Takes the construct library, which the other words do without.
            from machine_images import payload

            payload.write()
        case ["record"]:
            try:
                for line in downloads.record():
                    _say(line)
            except downloads.DownloadError as error:
                _say(str(error))
                return 2
        case ["unrecorded"]:
            for line in unrecorded():
                _say(line)
        case ["name", name] if name in _NAMES:
            _say(name)
        case ["name", name]:
            _say(
                f"machine image '{name}' is not in the catalog (there are {', '.join(_NAMES)}); give NAME=one of them"
            )
            return 2
        case _:
            _say(f"give one of {', '.join(_WORDS)}")
            return 2
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
