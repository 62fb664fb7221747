"""How tests find and write programs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.programs import shebang


def test_a_script_finds_a_python_whose_path_has_a_space(tmp_path: Path) -> None:
    python = tmp_path / "a folder" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    script = tmp_path / "script"
    script.write_text(f"{shebang(str(python))}\nimport sys\nprint(sys.argv[1:])\n", encoding="utf-8")
    for program in (python, script):
        program.chmod(0o755)
    said = subprocess.run([script, "one word", "2"], capture_output=True, text=True, check=True)
    assert said.stdout == "['one word', '2']\n"
