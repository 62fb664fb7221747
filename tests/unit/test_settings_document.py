"""The reader of YAML: refused documents, messages, speed, and the positions of values."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from settings.loaded_config import read
from settings.parser.document import Place, load, parse

LAUGHS = "a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + chr(ord(name) - 1)] * 9)}]\n" for name in "bcdefghi"
)
MERGES = "m0: &m0 {x: 1}\n" + "".join(
    f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "rule", "part"),
    [
        ("", "empty-file", "the file is empty"),
        ("# only a comment\n", "empty-file", "the file is empty"),
        ("~", "empty-file", "the file is empty"),
        ("- a\n- b\n", "not-a-mapping", "line 1"),
        ("just words", "not-a-mapping", "a mapping of keys"),
        ("name: demo\nzones: [a,\nb: c}\n", "not-yaml", "line 3, column 5"),
        ("a: b: c", "not-yaml", "line 1, column 5"),
        ("name: x\n\tpools: y\n", "not-yaml", "line 2"),
        ('name: "unfinished', "not-yaml", "end of stream"),
        ("name: *unknown", "not-yaml", "undefined alias"),
        ("a: \x01", "not-yaml", "line 1, column 4"),
        ("a: 1\n---\nb: 2\n", "not-yaml", "a second document begins"),
        (LAUGHS, "too-many-values", "50000"),
        (MERGES, "too-many-values", "50000"),
        ("a: &a [*a]", "alias-loop", "inside its own anchor"),
        ("a: &a {b: *a}", "alias-loop", "inside its own anchor"),
        ("a: &a {<<: *a}", "alias-loop", "inside its own anchor"),
        ("[" * 100_000, "too-deep", "20 levels"),
        ("a: " + "{a: " * 100_000, "too-deep", "20 levels"),
        ("a: [" + "1," * 200_000 + "]", "too-many-values", "50000"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_text_that_is_no_configuration(text: str, rule: str, part: str) -> None:
    start = time.process_time()
    document = parse(text)
    assert time.process_time() - start < 5
    assert document.data is None
    (finding,) = document.findings
    assert finding.rule == rule
    assert part in finding.message


@pytest.mark.parametrize(
    ("text", "findings"),
    [
        ("name: a\nname: b\n", {("duplicate-key", "name")}),
        ("pools:\n  a: {nodes: 1}\n  a: {nodes: 2}\n", {("duplicate-key", "pools.a")}),
        ("name: !!python/object:os.system x", {("tag-refused", "name")}),
        ("pools: !mine {a: 1}", {("tag-refused", "pools")}),
        ("name: !!binary aGk=", {("tag-refused", "name")}),
        ("name: !!int five", {("bad-value", "name")}),
        ("n: 0x" + "f" * 5000, {("out-of-range", "n")}),
        ("n: " + "9" * 5000, {("bad-value", "n")}),
        ("? [a]\n: b", {("bad-key", "")}),
        ("a: {<<: 5}", {("bad-merge", "a")}),
        ("name: demo\nwhen: 2026-11-24\n", set()),
    ],
    ids=lambda value: str(value)[:30],
)
def test_parts_that_cannot_be_used(text: str, findings: set[tuple[str, str]]) -> None:
    document = parse(text)
    assert {(finding.rule, finding.path) for finding in document.findings} == findings
    assert document.data is not None


def test_a_duplicate_names_both_lines() -> None:
    (finding,) = parse("name: a\nregion: b\nname: c\n").findings
    assert "line 1" in finding.message
    assert "line 3" in finding.message


def test_values_keep_their_lines_and_their_spelling() -> None:
    document = parse("name: demo\npools:\n  gpu:\n    nodes: 0x10\n    list: [a, yes]\n")
    assert document.data == {"name": "demo", "pools": {"gpu": {"nodes": 16, "list": ["a", True]}}}
    assert document.places["pools.gpu.nodes"] == Place(4, "0x10")
    assert document.places["pools.gpu.list.1"] == Place(5, "yes")
    assert document.places["pools.gpu"] == Place(3)


def test_dates_and_keys_stay_text() -> None:
    assert parse("when: 2026-11-24\n1: a\nyes: b\n").data == {"when": "2026-11-24", "1": "a", "yes": "b"}


def test_a_mappings_own_keys_override_merged_ones() -> None:
    document = parse("a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {x: 0, <<: [*b, *a]}\n")
    assert document.data is not None
    assert document.data["c"] == {"x": 0, "y": 3, "z": 4}
    assert not document.findings


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert load(tmp_path / "none.yaml").findings[0].rule == "file-missing"
    assert load(tmp_path).findings[0].rule == "file-unreadable"
    assert load(tmp_path).findings[0].message.endswith("is a folder")
    assert load("a\0b").findings[0].rule == "file-unreadable"
    assert load("x" * 5000).findings[0].rule == "file-unreadable"
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"name: demo\nteam: caf\xe9\n")
    (finding,) = load(latin).findings
    assert (finding.rule, "line 2" in finding.message) == ("not-utf-8", True)


def test_ten_megabytes_are_refused_at_once(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    large.write_bytes(b"a: 1\n" * (2 << 20))
    start = time.process_time()
    (finding,) = load(large).findings
    assert finding.rule == "file-too-large"
    assert time.process_time() - start < 1


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    marked = tmp_path / "marked.yaml"
    marked.write_bytes(b"\xef\xbb\xbfname: demo\n")
    assert load(marked).data == {"name": "demo"}


def test_thousands_of_mistakes_do_not_take_minutes(tmp_path: Path) -> None:
    names = [f"p{number}" for number in range(2000)]
    data = {
        "pools": {name: {"nodes": "x", "instance_type": "p5.47xlarge", "z": 1} for name in names},
        "hyperpod": {"pools": [f"q{name}" for name in names]},
        "acknowledge": [{"rule": f"r{number}", "reason": "for the test"} for number in range(500)],
    }
    path = tmp_path / "long.yaml"
    path.write_text(yaml.safe_dump(data))
    start = time.process_time()
    findings = read(path).findings
    assert time.process_time() - start < 20
    assert len(findings) > 8000
