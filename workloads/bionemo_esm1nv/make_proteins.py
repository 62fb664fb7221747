"""The stages that make the proteins that BioNeMo trains on: synthetic ones, or UniRef50 by BioNeMo's own preparation.

The result is a folder with `train`, `val` and `test`, each with the files x000.csv to x049.csv, whose fourth column is
the sequence: the form of BioNeMo's UniRef50Preprocess. It takes the place of an older one when it is whole.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import whole_folder
from training.arguments import whole

ABSENT, WRITE = 69, 74
"""Exit codes: a machine without BioNeMo, and a result that cannot be written."""

SPLITS = ("train", "val", "test")
FILES = 50
HEADER = "record_id,record_name,sequence_length,sequence"
_RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
_LENGTHS = (40, 510)

_NGC = {"ngc_registry_target": "uniref50_2022_05", "ngc_registry_version": "v23.06"}
"""UniRef50 of May 2022 on NGC, as BioNeMo's configuration names it."""


@dataclass(frozen=True)
class Options:
    """Options of the command line."""

    corpus: str
    sequences: int
    source: str
    ngc_org: str
    ngc_team: str


def options(words: Sequence[str] | None = None) -> Options:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(prog="make_proteins.py", allow_abbrev=False)
    add = parser.add_argument
    add(
        "corpus",
        choices=("synthetic", "uniref50"),
        help="also the variable: SYNTHETIC_PROTEINS, UNIREF50_PROTEINS",
    )
    add(
        "--sequences",
        type=whole(FILES),
        default=20000,
        help=f"synthetic proteins of each split, {FILES} or more",
    )
    add("--source", choices=("uniprot", "ngc"), default="uniprot", help="of uniref50")
    add("--ngc-org", default="", help="the organization whose NGC_CLI_API_KEY it is; ngc alone needs it")
    add("--ngc-team", default="", help="a team of it")
    settings = Options(**vars(parser.parse_args(words)))
    if settings.source == "ngc" and not settings.ngc_org:
        parser.error("--source=ngc needs --ngc-org")
    return settings


def synthetic(folder: Path, sequences: int) -> None:
    """Write synthetic proteins, each a random motif repeated; all follow from the split's name."""
    for split in SPLITS:
        source = random.Random(split)  # noqa: S311 -- no secret
        (folder / split).mkdir(parents=True)
        for file in range(FILES):
            numbers = range(sequences * file // FILES, sequences * (file + 1) // FILES)
            lines = [HEADER, *(_record(number, source) for number in numbers)]
            path = folder / split / f"x{file:03d}.csv"
            path.write_text("\n".join(lines) + "\n", encoding="ascii")


def _record(number: int, source: random.Random) -> str:
    length = source.randint(*_LENGTHS)
    motif = "".join(source.choices(_RESIDUES, k=source.randint(4, 12)))
    return f"{number},synthetic_{number},{length},{(motif * length)[:length]}"


def uniref50(folder: Path, settings: Options) -> None:
    """Fetch UniRef50 and write its splits by BioNeMo's preparation; a killed start's download is used."""
    from bionemo.data import UniRef50Preprocess

    registry = {}
    if settings.source == "ngc":
        os.environ["NGC_CLI_ORG"] = settings.ngc_org
        if settings.ngc_team:
            os.environ["NGC_CLI_TEAM"] = settings.ngc_team
        registry = _NGC
    preparation = UniRef50Preprocess(root_directory=str(_download(folder)))
    preparation.prepare_dataset(
        source=settings.source, output_dir=str(folder), num_csv_files=FILES, **registry
    )


def make(settings: Options, folder: Path) -> None:
    """Make the proteins in a folder, in place of what is there."""
    with whole_folder.replaced(folder) as new:
        if settings.corpus == "synthetic":
            synthetic(new, settings.sequences)
        else:
            uniref50(new, settings)
    shutil.rmtree(_download(new), ignore_errors=True)


def _download(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.download")


def main() -> int:
    """Make what the command line names, and return the exit code."""
    settings = options()
    folder = Path(os.environ[f"{settings.corpus.upper()}_PROTEINS"])
    try:
        make(settings, folder)
    except ModuleNotFoundError as error:
        sys.stderr.write(f"error: {error}; the workload's image has it\n")
        return ABSENT
    except OSError as error:
        sys.stderr.write(f"error: {error}\n")
        return WRITE
    sys.stdout.write(f"proteins are in {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
