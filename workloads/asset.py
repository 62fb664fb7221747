"""The assets of a workload: data sets, tokenizers and weights on the shared file system."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from catalog.spelling import did_you_mean
from workloads.id_form import ALLOWED, has_id_form
from workloads.reserved_variables import VARIABLE, is_reserved
from workloads.stage import Stage

AssetKind = Literal["data", "tokenizer", "weights"]

ASSETS_FOLDER = "data"
"""The folder of the shared file system that all assets are below."""

_FOLDER = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")


@dataclass(frozen=True, slots=True)
class Asset:
    """A folder on the shared file system that a workload reads, or that one of its stages makes.

    `folder` is relative to `data` of the shared file system; every rank and every stage has its path in `variable`.
    `stage` names the stage that makes it; empty: somebody puts it there. A run whose `required` asset is not there ends
    before its program starts. `size_gib` is what it takes of the file system, in GiB; None where that is not known.
    `licence` says what whoever uses it has to accept.
    """

    name: str
    folder: str
    variable: str
    kind: AssetKind = "data"
    stage: str = ""
    required: bool = False
    size_gib: float | None = None
    licence: str = ""

    def __post_init__(self) -> None:
        """Refuse an asset that scripts cannot name.

        Raises:
            ValueError: everything that is wrong with it.
        """
        if problems := list(self._problems()):
            raise ValueError(f"asset '{self.name}': {'; '.join(problems)}")

    def path(self, shared_folder: str) -> str:
        """Return its path on a cluster, by the cluster's shared folder."""
        return f"{shared_folder}/{ASSETS_FOLDER}/{self.folder}"

    def command(
        self,
        workload: str,
        preset: str,
        cluster: str,
        options: Sequence[str] = (),
        arguments: Sequence[str] = (),
    ) -> str:
        """Return the command that makes it on a cluster; empty where no stage does.

        `options` are added to those of the command, and `arguments` to the stage's program.
        """
        if not self.stage:
            return ""
        words = ["trainforge", "launch", workload, "--preset", preset, "--on", cluster, "--stage", self.stage]
        return shlex.join([*words, *options, *(("--", *arguments) if arguments else ())])

    def _problems(self) -> Iterator[str]:
        if not has_id_form(self.name):
            yield f"a name is {ALLOWED}"
        if not _FOLDER.fullmatch(self.folder) or {".", ".."} & set(self.folder.split("/")):
            yield f"the folder '{self.folder}' is not a relative path of letters, digits and '._-/'"
        if not VARIABLE.fullmatch(self.variable):
            yield f"'{self.variable}' is not the name of a variable"
        elif is_reserved(self.variable):
            yield f"the variable '{self.variable}' is set by the launch itself"
        if self.kind not in get_args(AssetKind):
            yield f"the kind '{self.kind}' is none of {', '.join(get_args(AssetKind))}"
        if self.size_gib is not None and not (self.size_gib > 0 and math.isfinite(self.size_gib)):
            yield f"the size {self.size_gib} GiB is not above 0; None where it is not known"


def check_assets(
    assets: Sequence[Asset], stages: Sequence[Stage], taken: Sequence[str] = ()
) -> Iterator[str]:
    """Yield what is wrong with the assets of a workload together; `taken` are variables that something else has."""
    for attribute in ("name", "folder", "variable"):
        values = [getattr(asset, attribute) for asset in assets]
        for value in dict.fromkeys(value for value in values if values.count(value) > 1):
            yield f"{values.count(value)} assets have the {attribute} '{value}'"
    names = [stage.name for stage in stages]
    for asset in assets:
        if asset.variable in taken:
            yield f"the asset '{asset.name}' and a secret have the variable '{asset.variable}'"
        if asset.stage and asset.stage not in names:
            known = f"there are {', '.join(names)}" if names else "it has none"
            yield (
                f"the asset '{asset.name}' is made by '{asset.stage}', and the workload has no stage of that "
                f"name{did_you_mean(asset.stage, names)}; {known}"
            )
