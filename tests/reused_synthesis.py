"""The app of the CDK CLI in tests: it synthesizes a configuration once a run of tests, and later commands get a copy.

`cdk deploy`, `diff` and `destroy` each synthesize first, which takes most of their time, and guides and deploy tests
have many of them for the same configuration. The CLI is given `app_command()` in place of `python3 app.py`: it runs
app.py for what has not been synthesized before, and else repeats what app.py wrote and printed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

PROGRAM = (
    "app.py",
    "cdk.json",
    "catalog",
    "settings",
    "constructs",
    "observability",
    "machine_images",
    "stacks",
    "workloads",
    "programs",
)
"""The files of a project that synthesis reads beside its configuration."""

_CONTEXT = "CDK_CONTEXT_JSON"
_OUTDIR = "CDK_OUTDIR"
_NOT_IN_THE_KEY = ("aws:cdk:bundling-stacks", "config")
"""Context that is no part of the key: the stacks whose assets are bundled, which differ between commands of the CLI,
and no asset of ours is; and the configuration's name, for the file itself and its path are part of it."""


def app_command(folder: Path) -> str:
    """Return the program for the CLI's option `--app`; `folder` keeps what it synthesizes."""
    return shlex.join([sys.executable, str(Path(__file__).resolve()), str(folder)])


def main(folder: Path) -> int:
    """Synthesize the project in the working directory, or copy; return the exit code of app.py."""
    entry = folder / _key(Path.cwd(), os.environ)
    entry.mkdir(parents=True, exist_ok=True)
    assembly, printed = entry / "assembly", entry / "printed.json"
    with (entry / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if printed.exists():
            said = json.loads(printed.read_text(encoding="utf-8"))
        else:
            environment = {**os.environ, _OUTDIR: str(assembly)}
            done = subprocess.run([sys.executable, "app.py"], env=environment, capture_output=True, text=True)
            said = [str(Path.cwd()), done.stdout, done.stderr]
            if done.returncode == 0:
                printed.write_text(json.dumps(said), encoding="utf-8")
    # A path in what was printed is that of the project whose app.py ran.
    for stream, text in zip((sys.stdout, sys.stderr), said[1:], strict=True):
        stream.write(text.replace(said[0], str(Path.cwd())))
    if not printed.exists():
        return done.returncode
    _publish(assembly, Path(os.environ[_OUTDIR]))
    return 0


def _publish(assembly: Path, target: Path) -> None:
    """Replace the content of the CLI's folder by a copy of an assembly; the CLI's own locks stay."""
    target.mkdir(parents=True, exist_ok=True)
    for old in target.iterdir():
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        elif old.suffix != ".lock":
            old.unlink()
    shutil.copytree(assembly, target, symlinks=True, dirs_exist_ok=True)


def _key(project: Path, environment: Any) -> str:
    context = json.loads(environment.get(_CONTEXT, "{}"))
    configured = context.get("config")
    for name in _NOT_IN_THE_KEY:
        context.pop(name, None)
    chosen = {name: value for name, value in sorted(environment.items()) if name.startswith("TRAINFORGE_")}
    digest = hashlib.sha256(json.dumps([context, chosen], sort_keys=True).encode())
    named = configured or chosen.get("TRAINFORGE_CONFIG") or "config/default.yaml"
    configuration = project / named
    for path in (*(project / name for name in PROGRAM), configuration, *_named_in(configuration)):
        for file in _files(path):
            # The place is told where it is another than the project: app.py may write it.
            place = file.relative_to(project) if file.is_relative_to(project) else file
            digest.update(f"\0{place}\0{file.stat().st_mode}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:32]


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        for below in sorted(path.rglob("*")):
            if below.is_file() and "__pycache__" not in below.parts:
                yield below
    elif path.is_file():
        yield path


def _named_in(configuration: Path) -> Iterator[Path]:
    """Yield the files and folders that a configuration names, relative to itself as the settings read them."""

    def strings(value: object) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            for part in value.values():
                yield from strings(part)
        elif isinstance(value, list):
            for part in value:
                yield from strings(part)

    try:
        document = yaml.safe_load(configuration.read_bytes())
    except (OSError, yaml.YAMLError):
        return
    for text in strings(document):
        named = configuration.parent / text
        # A plain word may be the name of the folder itself, or too long for a name.
        if text.strip("./") and len(text) < 200 and named.exists():
            yield named


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
