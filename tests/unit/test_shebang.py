"""Scripts find their Python, whatever its path."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.shebang import main, shebang

PRINT = "import sys\nprint(sys.argv[1:])\n"


def _environment(folder: Path) -> Path:
    """Return the folder of programs of an environment with a Python."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    _program(programs / "python", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    return programs


def _program(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def test_a_script_finds_a_python_whose_path_has_a_space(tmp_path: Path) -> None:
    python = _environment(tmp_path / "a folder") / "python"
    script = _program(tmp_path / "script", f"{shebang(str(python))}\n{PRINT}")
    said = subprocess.run([script, "one word", "2"], capture_output=True, text=True, check=True)
    assert said.stdout == "['one word', '2']\n"


@pytest.mark.parametrize("folder", ["a folder", "f" * 130])
def test_a_script_of_pip_that_the_kernel_refuses_is_corrected(tmp_path: Path, folder: str) -> None:
    programs = _environment(tmp_path / folder)
    script = _program(programs / "aws", f"#!{programs}/python\n{PRINT}")
    main([str(tmp_path / folder)])
    said = subprocess.run([script, "one word", "2"], capture_output=True, text=True, check=True)
    assert said.stdout == "['one word', '2']\n"
    corrected = script.read_text(encoding="utf-8")
    assert corrected == f"{shebang(str(programs / 'python'))}\n{PRINT}"
    main([str(tmp_path / folder)])
    assert script.read_text(encoding="utf-8") == corrected


def test_what_works_is_left_as_it_is(tmp_path: Path) -> None:
    with_space = _environment(tmp_path / "a folder")
    texts = {
        "entry": f"{shebang(str(with_space / 'python'))}\n{PRINT}",
        "shell": "#!/bin/sh -e\ntrue\n",
        "other": "#!/another folder/bin/python\n",
        "options": f"#!{with_space}/../python -E\n",
        "text": "python\n",
        "empty": "",
    }
    for name, text in texts.items():
        _program(with_space / name, text)
    (with_space / "binary").write_bytes(b"\x7fELF\xff\x00")
    (with_space / "folder").mkdir()
    main([str(tmp_path / "a folder")])
    assert {name: (with_space / name).read_text(encoding="utf-8") for name in texts} == texts
    assert (with_space / "binary").read_bytes() == b"\x7fELF\xff\x00"


def test_a_path_that_a_kernel_takes_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = _environment(tmp_path / "environment")
    monkeypatch.setattr("tests.shebang._MAX_LINE", len(f"#!{programs}/python"))
    text = f"#!{programs}/python\n{PRINT}"
    script = _program(programs / "aws", text)
    main([str(tmp_path / "environment")])
    assert script.read_text(encoding="utf-8") == text
