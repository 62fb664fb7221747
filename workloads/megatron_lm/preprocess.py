"""The stage that tokenizes the text of CORPUS_FOLDER into TOKENS_FOLDER, by Megatron-LM's tools/preprocess_data.py.

Arguments are that program's; `{CORPUS_FOLDER}` and `{TOKENS_FOLDER}` in them are the folders. The folder of
`--output-prefix` takes the place of an older one when it is whole.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import whole_folder
from megatron_launch import pretrain
from megatron_launch.folders import with_folders
from megatron_launch.hub_tokenizer import with_tokenizer
from training import hub
from training.errors import TrainingError

FAULT, WRITE = 1, 74
"""Exit codes: nothing was written, and a folder that cannot be replaced."""


def main() -> int:
    """Tokenize as the command line says."""
    folder = os.environ.get("TOKENS_FOLDER", "")
    if not folder:
        sys.stderr.write("error: TOKENS_FOLDER is not set\n")
        return pretrain.USAGE
    words = with_folders(sys.argv[1:])
    prefix = _prefix(words)
    if Path(folder) not in prefix.parent.parents:
        sys.stderr.write(
            f"error: --output-prefix is '{prefix}'; give a path in a folder of its own: {{TOKENS_FOLDER}}/NAME/NAME\n"
        )
        return pretrain.USAGE
    try:
        with whole_folder.replaced(prefix.parent) as new:
            new.mkdir()
            words, (tokenizer, commit) = with_tokenizer(words)
            _tokenize(words, new / prefix.name)
            if tokenizer:
                hub.record(new, tokenizer, commit)
    except TrainingError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.code
    except whole_folder.InTheWayError as error:
        sys.stderr.write(f"error: {error}\n")
        return WRITE
    return 0


def _prefix(words: Sequence[str]) -> Path:
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--output-prefix", type=Path, default=Path())
    found: Path = parser.parse_known_args(words)[0].output_prefix
    return found


def _tokenize(words: Sequence[str], prefix: Path) -> None:
    """Run Megatron-LM's program, and end with its exit code where it failed. Of an option the last value counts."""
    try:
        code: int | str | None = pretrain.run(pretrain.PREPROCESS, [*words, f"--output-prefix={prefix}"])
    except SystemExit as end:
        code = end.code
    if code:
        sys.exit(code)
    if not any(prefix.parent.iterdir()):
        sys.stderr.write(f"error: {pretrain.PREPROCESS} has written nothing; nothing was replaced\n")
        sys.exit(FAULT)


if __name__ == "__main__":
    sys.exit(main())
