"""A folder that looks like a node: files below a root, and stubs of its programs on PATH."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# Multiplies every wait of the node set-up: the first for what never comes, the second for what comes late and
# must not be missed on a busy machine (120 s become 6).
GIVES_UP_AT_ONCE = 0.0005
PATIENT = 0.05

# Each stub notes its call; `state` is a folder of the test's own.
# Entries of a directory are files of the test's state.
GETENT = """folder="$ROOT/etc/"; [ "$1" != -s ] || { folder="$STATE/sss-"; shift 2; }
awk -F: -v k="$2" '$1==k||$3==k {print; f=1; exit} END {exit f?0:2}' "$folder$1" 2>/dev/null"""
DPKG_QUERY = """shift 2
for name in "$@"; do
    version=$(sed -n "s/^$name=//p" "$STATE/installed" | tail -n 1)
    if [ -n "$version" ]; then echo "ii  $name $version"; else code=1; fi
done
exit ${code:-0}"""
# Fails as often as $STATE/failures says, then installs what comes after the options.
APT_GET = """left=$(cat "$STATE/failures")
if [ "$left" -gt 0 ]; then
    echo $((left - 1)) >"$STATE/failures"
    echo "E: Could not get lock /var/lib/apt/lists/lock" >&2
    exit 100
fi
case "$*" in *install*) for word in "$@"; do case "$word" in
    -*|install|D*::*) ;; *=*) echo "$word" >>"$STATE/installed" ;;
    *) echo "$word=1.0" >>"$STATE/installed" ;; esac; done ;; esac"""


class NodeFolder:
    """One node: `root` has its files, `bin` its programs, and `state` is a folder of the test's own."""

    def __init__(self, folder: Path, stubs: Mapping[str, str], python: str) -> None:
        self.root, self.state, self.bin = folder / "root", folder / "state", folder / "bin"
        for path in (self.root, self.state, self.bin):
            path.mkdir(parents=True)
        (self.bin / "python3").symlink_to(python)
        for name, text in stubs.items():
            self.program(name, text)
        (self.state / "installed").write_text("bash=5.2\n")
        (self.state / "failures").write_text("0\n")
        self.file("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n")
        self.file("/etc/shadow", "root:*:20000:0:99999:7:::\n")
        self.file("/etc/group", "root:x:0:\n")
        self.file("/etc/gshadow", "root:*::\n")
        self.file("/etc/login.defs", "UID_MIN 1000\nUID_MAX 60000\n")
        self.file("/etc/skel/.bashrc", "alias ll='ls -l'\n")

    def file(self, absolute: str, text: str) -> Path:
        path = self.root / absolute.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def read(self, absolute: str) -> str:
        return (self.root / absolute.lstrip("/")).read_text()

    def program(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>"$STATE/calls"\n{text}\n')
        path.chmod(0o755)

    def calls(self, program: str) -> list[str]:
        path = self.state / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.split()[0] == program]

    def environment(self) -> dict[str, str]:
        """Return the variables of a program on the node."""
        return {
            "PATH": f"{self.bin}:/usr/sbin:/usr/bin:/sbin:/bin",
            "ROOT": str(self.root),
            "STATE": str(self.state),
        }


def counts(output: str) -> dict[str, float]:
    """Return the last line's numbers: steps, changed, failed, seconds."""
    last = next(line for line in reversed(output.splitlines()) if "changed=" in line)
    return {name: float(value) for name, value in (w.split("=") for w in last.split() if "=" in w)}
