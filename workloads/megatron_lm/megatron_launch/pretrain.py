"""Programs of Megatron-LM, as they are started in its checkout."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDER = "MEGATRON_LM"
"""The variable with the checkout of Megatron-LM; the image has it."""

PRETRAIN, PREPROCESS = "pretrain_gpt.py", "tools/preprocess_data.py"

USAGE = 2
"""Exit code of a start that would fail again."""

STOPPED = 75
"""Exit code of a run that an option or a signal stopped after it saved: a launch with its id resumes it."""


def run(program: str, words: Sequence[str]) -> int:
    """Run a program with the words of a command line, and return its exit code.

    pretrain_gpt.py returns after its last iteration. It exits with 0 where an option stopped it earlier
    (`--exit-signal-handler`, `--exit-duration-in-mins`, `--exit-interval`), after it saved.
    """
    folder = Path(os.environ.get(FOLDER, ""))
    if not os.environ.get(FOLDER) or not (folder / program).is_file():
        sys.stderr.write(f"error: {FOLDER} is '{os.environ.get(FOLDER, '')}', and has no {program}\n")
        return USAGE
    sys.argv = [str(folder / program), *words]
    sys.path.insert(0, str(folder))
    try:
        runpy.run_path(str(folder / program), run_name="__main__")
    except SystemExit as end:
        if end.code in (0, None) and program == PRETRAIN and not {"-h", "--help"} & set(words):
            return STOPPED
        raise
    return 0
