"""Text to train on in files of JSON lines: what is read, and that what is broken is named with its place."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from tests.programs import ROOT


@pytest.fixture
def corpus(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "workloads" / "runtime"))
    from training import corpus

    return corpus


def test_the_texts_are_read_in_order(corpus: Any, tmp_path: Path) -> None:
    """Empty ones are left out; characters of any plane are text, escaped as a pair too."""
    plain, packed = tmp_path / "a.jsonl", tmp_path / "b.json.gz"
    plain.write_text(
        '{"text": "a\\n", "url": "x"}\n{"text": ""}\n{"text": "\\ud83d\\ude00 \N{GRINNING FACE}"}'
    )
    packed.write_bytes(gzip.compress(b'{"text": "c"}\n') + gzip.compress(b'{"text": "d"}\n'))
    assert list(corpus.texts([plain, str(packed)])) == ["a\n", "\U0001f600 \U0001f600", "c", "d"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"text": 5}', "no JSON object with a field 'text' that is a string"),
        (b'{"text": null}', "no JSON object with a field 'text' that is a string"),
        (b'{"texts": "a"}', "no JSON object with a field 'text' that is a string"),
        (b'["text"]', "no JSON object with a field 'text' that is a string"),
        (b'{"text": "a', "no JSON object with a field 'text' that is a string"),
        (b"[" * 100_000, "no JSON object with a field 'text' that is a string"),
        (rb'{"text": "b \ud800 a"}', "its text has no UTF-8 form: surrogates not allowed at character 3"),
    ],
)
def test_a_line_without_text_is_named(corpus: Any, tmp_path: Path, line: bytes, told: str) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"text": "a"}\n' + line + b"\n")
    with pytest.raises(Exception, match="line 2") as refused:
        list(corpus.texts([file]))
    assert str(refused.value) == f"'{file}', line 2: {told}"
    assert refused.value.code == 66


@pytest.mark.parametrize("broken", ["zeros", "cut", "other", "bytes", "absent"])
def test_a_file_that_cannot_be_read_is_named(corpus: Any, tmp_path: Path, broken: str) -> None:
    line = b'{"text": "a"}\n'
    packed = gzip.compress(line)
    contents = {
        # A second member of which only the header of ten bytes was written.
        "zeros": packed + packed[:10] + bytes(100),
        "cut": packed[:-10],
        "other": line,
        "bytes": gzip.compress(b'{"text": "\xff"}\n'),
    }
    file = tmp_path / "a.json.gz"
    if broken in contents:
        file.write_bytes(contents[broken])
    with pytest.raises(Exception, match="cannot be read: ") as refused:
        list(corpus.texts([file]))
    assert str(refused.value).startswith(f"'{file}' cannot be read: ")
    assert refused.value.code == 66
