"""The stage that tokenizes the text of CORPUS_FOLDER into TOKENS_FOLDER, by Megatron-LM's tools/preprocess_data.py.

Arguments are that program's; `{CORPUS_FOLDER}` and `{TOKENS_FOLDER}` in them are the folders.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from megatron_launch import pretrain
from megatron_launch.folders import with_folders


def main() -> int:
    """Tokenize as the command line says."""
    folder = os.environ.get("TOKENS_FOLDER", "")
    if not folder:
        sys.stderr.write("error: TOKENS_FOLDER is not set\n")
        return pretrain.USAGE
    Path(folder).mkdir(parents=True, exist_ok=True)
    return pretrain.run(pretrain.PREPROCESS, with_folders(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
