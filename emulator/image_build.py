"""Image builds at deployment: the build is not run, but all its inputs are checked."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import re
import shlex
import zipfile
from collections.abc import Iterator
from typing import Any

from emulator.resources.resource import Kind, Properties, Resource

_PREDEFINED = re.compile(r"(TARGET|BUILD)(PLATFORM|OS|ARCH|VARIANT)$")
"""Arguments that BuildKit fills in itself."""


class ContainerImageBuild(Resource):
    """cdklabs.deploy-time-build's Custom::CDKContainerImageBuild, answered with its tag.

    The project, the repository, the source and the base must be there, the context must hold the Dockerfile and all
    that it copies, and every argument without a default must be given. The repository then holds a manifest of that
    tag without layers, which says that nothing was built.
    """

    kind = Kind.ANSWERED

    def create(self) -> None:
        """Check what the build needs, and note its tag."""
        given = self.properties
        [project] = self.aws("codebuild").batch_get_projects(names=[given["codeBuildProjectName"]])[
            "projects"
        ] or [{}]
        if not project:
            self.fail(f"there is no project '{given['codeBuildProjectName']}' to build in")
        registry, _, repository = given["repositoryUri"].partition("/")
        command = _Command(given["buildCommand"])
        context = self._context(given["sourceS3Url"])
        dockerfile = context.get(command.dockerfile)
        if dockerfile is None:
            self.fail(
                f"the build context has no '{command.dockerfile}' (it has {', '.join(sorted(context))})"
            )
        for problem in _problems(dockerfile.decode(), command.arguments, set(context)):
            self.fail(f"{command.dockerfile}: {problem}")
        base = command.arguments.get("BASE", "")
        if base.startswith(f"{registry}/") and not self._holds(*base.removeprefix(f"{registry}/").split(":")):
            self.fail(f"the base '{base}' is not there")
        self.physical_id = given["imageTag"]
        self.attributes = {"ImageTag": given["imageTag"]}
        if not self._holds(repository, given["imageTag"]):
            self._note(repository, given["imageTag"])

    def _context(self, url: str) -> dict[str, bytes]:
        bucket, _, key = url.removeprefix("s3://").partition("/")
        body = self.aws("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        archive = zipfile.ZipFile(io.BytesIO(body))
        return {item.filename: archive.read(item) for item in archive.infolist() if not item.is_dir()}

    def _holds(self, repository: str, tag: str) -> bool:
        images = self.aws("ecr").list_images(repositoryName=repository)["imageIds"]
        return tag in [image.get("imageTag") for image in images]

    def _note(self, repository: str, tag: str) -> None:
        kind = "application/vnd.oci.image"
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{kind}.manifest.v1+json",
            "config": {
                "mediaType": f"{kind}.config.v1+json",
                "size": 0,
                "digest": f"sha256:{hashlib.sha256(tag.encode()).hexdigest()}",
            },
            "layers": [],
            "annotations": {"trainforge.emulator": "answered: nothing was built"},
        }
        self.aws("ecr").put_image(repositoryName=repository, imageTag=tag, imageManifest=json.dumps(manifest))

    def update(self, previous: Properties) -> None:
        """Build again: another tag is another image, and CloudFormation then deletes the old one's resource."""
        del previous
        self.create()

    def delete(self) -> None:
        """Leave the image: the library's function answers and does nothing."""


class _Command:
    """The build command, read back."""

    def __init__(self, text: str) -> None:
        words = shlex.split(text)
        pairs = list(itertools.pairwise(words))
        self.dockerfile = next((value for name, value in pairs if name == "--file"), "Dockerfile")
        given = [value.partition("=") for name, value in pairs if name == "--build-arg"]
        self.arguments = {name: value for name, _, value in given}


def _problems(dockerfile: str, arguments: dict[str, Any], files: set[str]) -> Iterator[str]:
    """Yield the errors of a build: an argument without a value, a file that is not in the context."""
    for line in re.sub(r"\\\n", " ", dockerfile).splitlines():
        instruction, _, rest = line.strip().partition(" ")
        words = [word for word in rest.split() if not word.startswith("--")]
        if instruction.upper() == "ARG":
            for word in words:
                # An argument declared again for a stage has its default at the first place.
                default = re.search(rf"^\s*ARG\s+{re.escape(word)}=", dockerfile, re.MULTILINE)
                if not ("=" in word or word in arguments or default or _PREDEFINED.match(word)):
                    yield f"the argument '{word}' has no value"
        if instruction.upper() in ("COPY", "ADD") and "--from=" not in rest:
            for source in words[:-1]:
                path = source.removeprefix("./").rstrip("/")
                if not any(name == path or name.startswith(f"{path}/") for name in files):
                    yield f"the context has no '{source}' to copy"
