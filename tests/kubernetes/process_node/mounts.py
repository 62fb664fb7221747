"""The root of a container: this machine's files under an overlay, with the image and the volumes laid over them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.kubernetes.plane.api import Document
from tests.kubernetes.process_node.volumes import Volumes

TEMPORARY = ("/tmp", "/run")
"""Folders that a container has of its own, empty: where they are file systems of this machine, targets would stay."""


class Root:
    """The files of this machine that the containers of a node share.

    `images` maps an image, or `*`, to the folder of its content: what is at `opt/program` in it is at `/opt/program`
    in the container. `path` are folders of programs, which containers find first, and `tools` is one of programs that
    they find in /usr/local/bin.
    """

    def __init__(self, images: Mapping[str, Path], path: Sequence[Path], tools: Path) -> None:
        self._images = images
        self._path = path
        self._tools = tools
        self._mounted = mounted(Path("/proc/self/mounts").read_text(encoding="utf-8"))

    @property
    def variables(self) -> dict[str, str]:
        """The variables that an image would bring."""
        system = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        return {"PATH": ":".join([*map(str, self._path), system]), "HOME": "/root"}

    def script(self, container: Document, folder: Path, hosts: Path, hostname: str, volumes: Volumes) -> str:
        """Return the lines that make the root of a container and leave the shell in it; `folder` is the container's.

        They run in a mount namespace of the container's own. What it writes stays in memory and ends with it.

        Raises:
            LookupError, ValueError: a volume cannot be had.
        """
        lines = [
            f"cd {shlex.quote(str(folder))}",
            "mount -t tmpfs -o mode=755 tmpfs .",
            'cd "$PWD"',
            "mkdir up work all",
            "mount -t overlay overlay -o lowerdir=/,upperdir=up,workdir=work all",
            "cd all",
            *(f"mount --rbind {shlex.quote(path)} {shlex.quote('.' + path)}" for path in self._mounted),
            *(f"mount -t tmpfs tmpfs .{path}" for path in TEMPORARY),
            *(bind(path, str(path), read_only=True) for path in self._environments()),
            *(bind(tool, f"/usr/local/bin/{tool.name}", read_only=True) for tool in self._tools.iterdir()),
            *self._image(container["image"]),
            f"mount --bind {shlex.quote(str(hosts))} ./etc/hosts",
            f"hostname {shlex.quote(hostname)}",
        ]
        for mount in container.get("volumeMounts", ()):
            volume = volumes.of(mount["name"])
            target = mount["mountPath"]
            if volume.memory:
                inside = _inside(target)
                lines.append(f"mkdir -p {inside}; mount -t tmpfs -o size={volume.memory} tmpfs {inside}")
                continue
            source = volume.path
            if mount.get("subPath"):
                source = source / mount["subPath"]
                if not source.exists():
                    source.mkdir(parents=True)
            lines.append(bind(source, target, read_only=bool(mount.get("readOnly"))))
        return "\n".join(lines) + "\n"

    def _environments(self) -> list[Path]:
        """Return the folders of programs that folders of the container hide, with the libraries beside them."""
        hidden = [one for one in self._path if any(one.is_relative_to(path) for path in TEMPORARY)]
        return [one.parent if one.name == "bin" and (one.parent / "lib").exists() else one for one in hidden]

    def _image(self, name: str) -> list[str]:
        root = self._images.get(name) or self._images.get("*")
        if root is None:
            return []
        return [bind(path, f"/{path.relative_to(root)}", read_only=True) for path in sorted(root.glob("*/*"))]


def mounted(table: str) -> list[str]:
    """Return what is mounted directly on this machine's root, by /proc/self/mounts; an overlay of / lacks it."""
    found: list[str] = []
    for line in table.splitlines():
        path = line.split()[1].encode().decode("unicode_escape")
        if path != "/" and not any(path == one or path.startswith(one + "/") for one in (*found, *TEMPORARY)):
            found.append(path)
    return found


def bind(source: Path, target: str, *, read_only: bool) -> str:
    """Return the line that binds a file or folder below the container's root, which is the current folder."""
    where, inside = shlex.quote(str(source)), _inside(target)
    make = f"mkdir -p {inside}" if source.is_dir() else f"mkdir -p $(dirname {inside}); touch {inside}"
    mode = "ro" if read_only else "rw"
    return f"[ -e {inside} ] || {{ {make}; }}; mount --bind -o {mode} {where} {inside}"


def _inside(target: str) -> str:
    """Return a path of the container as a word of the shell that is still outside.

    Links are followed here, as the container's root has the same ones: an absolute one such as /var/run would lead out
    of it.
    """
    return shlex.quote(f".{os.path.realpath(target)}")
