"""The reader of guides and the comparison of their output; a guide that is wrong must not pass."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.guides import shell as shells
from tests.guides.expectation import missing
from tests.guides.guide import Command, GuideError, GuideFile, Machine, continued_page, read_guide
from tests.guides.shell import Shell

GUIDE = """\
# A guide

```console
$ first --option \\
    value
shown
ubuntu@login:~$ sinfo
```

<!-- guide: not run: no such machine -->
```console
$ second
```

<!-- guide: node file: job.sbatch -->
```bash
#!/bin/bash
```

```bash
never run
```
"""


def read(folder: Path, text: str) -> list[Command | GuideFile]:
    path = folder / "guide.md"
    path.write_text(text, encoding="utf-8")
    return read_guide(path)


def test_commands_files_and_reasons_are_read_in_order(tmp_path: Path) -> None:
    assert read(tmp_path, GUIDE) == [
        Command(4, Machine.HERE, "first --option \\\n    value", ["shown"]),
        Command(7, Machine.NODE, "sinfo"),
        Command(12, Machine.HERE, "second", not_run="no such machine"),
        GuideFile(17, Machine.NODE, "job.sbatch", "#!/bin/bash\n"),
    ]


def test_a_guide_names_the_page_that_it_continues(tmp_path: Path) -> None:
    text = "# Next\n\n<!-- guide: continues: first-page.md -->\n\n" + GUIDE
    assert [step.line for step in read(tmp_path, text)] == [8, 11, 16, 21]
    assert continued_page(tmp_path / "guide.md") == tmp_path / "first-page.md"
    read(tmp_path, GUIDE)
    assert continued_page(tmp_path / "guide.md") is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("<!-- guide: skip -->\n```console\n$ x\n```\n", "is no directive"),
        ("<!-- guide: not run: -->\n```console\n$ x\n```\n", "is no directive"),
        ("<!-- guide: not run: why -->\ntext\n", "a block must follow"),
        ("<!-- guide: not run: why -->\n", "nothing follows"),
        ("<!-- guide: not run: why -->\n```bash\nx\n```\n", "is for console blocks"),
        ("```console\noutput\n$ x\n```\n", "output before the first command"),
    ],
)
def test_a_guide_that_hides_commands_is_an_error(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(GuideError, match=complaint):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (["gpu  i-0123456789abcdef0  Running"], "gpu\ti-ffffffffffffffff0\tRunning\n"),
        (
            ["arn:aws:sagemaker:r:111122223333:cluster/a1b2c3d4e5f6"],
            "arn:aws:sagemaker:r:123456789012:cluster/zzzzzzzzzzzz",
        ),
        (["a", "...", "z"], "z\na\nm\n"),
        (["upload: x to s3://.../x"], "upload: x to s3://bucket/x"),
        (["ip-10-1-0-11", "ip-10-1-0-12"], f"{socket.gethostname()}\n" * 2),
        (["Submitted batch job 3"], "Submitted batch job 17"),
    ],
)
def test_what_differs_from_run_to_run_is_no_difference(shown: list[str], printed: str) -> None:
    assert missing(shown, printed) == []


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (["gpu  InService  2  2"], "gpu InService 1 2"),
        (["controller  i-0123456789abcdef0"], "login i-0123456789abcdef0"),
        (["twice", "twice"], "twice\n"),
        (["name"], "names"),
        (["fs-0123456789abcdef0"], "vpc-0123456789abcdef0"),
    ],
)
def test_what_a_reader_would_miss_is_missed(shown: list[str], printed: str) -> None:
    assert missing(shown, printed) == shown[-1:]


def test_the_shell_carries_variables_and_the_directory(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    shell = Shell(tmp_path, os.environ, tmp_path / "state")
    assert shell.run("X='a \"b\" $c'; cd inner").code == 0
    assert shell.run('echo "$X"; basename "$PWD"').output == 'a "b" $c\ninner\n'
    assert shell.run("false").code == 1
    assert shell.run("exit 7").code == 7


def test_a_command_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shells, "COMMAND_SECONDS", 0.5)
    answer = Shell(tmp_path, os.environ, tmp_path / "state").run("sleep 60")
    assert answer.code == 124
    assert "did not end" in answer.output
