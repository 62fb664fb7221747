"""The assets of functions: each has all that it imports of ours, and starts by its Lambda handler."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_

from trainforge.handler_function import handler_code, handler_entry
from trainforge.programs import FUNCTIONS

NAMES = sorted(path.parent.name for path in FUNCTIONS.glob("*/index.py"))
START = """
import importlib, sys
for folder, entry in zip(sys.argv[1::2], sys.argv[2::2]):
    sys.path[:0] = [folder]
    module, _, name = entry.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))
    assert importlib.import_module(module).__file__.startswith(folder)
    for loaded in [one for one in sys.modules if one.split(".")[0] == "functions"]:
        del sys.modules[loaded]
"""


def test_every_function_starts_from_its_asset_alone(tmp_path: Path) -> None:
    assert len(NAMES) >= 7
    app = cdk.App(outdir=str(tmp_path / "out"))
    stack = cdk.Stack(app, "Stack")
    arguments = []
    for name in NAMES:
        code = handler_code(name)
        lambda_.Function(
            stack, name, runtime=lambda_.Runtime.PYTHON_3_13, handler=handler_entry(name), code=code
        )
    app.synth()
    for asset in (tmp_path / "out").glob("asset.*"):
        [name] = [path.name for path in (asset / "functions").iterdir() if path.is_dir()]
        files = {path.relative_to(asset).as_posix() for path in asset.rglob("*") if path.is_file()}
        shared = {path.name for path in FUNCTIONS.glob("*.py")}
        own = {f"{name}/{path.name}" for path in (FUNCTIONS / name).glob("*.py")}
        assert files == {f"functions/{path}" for path in shared | own}
        arguments += [str(asset), handler_entry(name)]
    assert len(arguments) == 2 * len(NAMES)
    done = subprocess.run(
        [sys.executable, "-I", "-c", START, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
