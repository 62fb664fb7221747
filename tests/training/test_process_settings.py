"""Settings that a process makes for itself before it joins the others."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.training import fsdp_modules

torch = fsdp_modules.torch

import train as fsdp  # noqa: E402
from training import process_settings, start  # noqa: E402


@pytest.fixture
def restored() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    fill = torch.utils.deterministic.fill_uninitialized_memory
    mask = os.umask(0o022)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = fill
    os.umask(mask)


@pytest.mark.usefixtures("restored")
def test_a_run_may_open_as_many_files_as_its_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, highest = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, highest))
    monkeypatch.setenv(start.FOLDER, str(tmp_path / "run"))
    monkeypatch.setattr(start, "joined", stopped)
    with pytest.raises(Joined):
        start.carry_out(lambda *_: (0, 0), "cpu", 1)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (highest, highest)


class Joined(Exception):
    """The process would join the others now."""


def stopped(*_: Any, **__: Any) -> Any:
    raise Joined


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(("words", "asked"), [(["--deterministic"], True), ([], False)])
def test_equal_bits_are_asked_for_before_anything_is_computed(
    monkeypatch: pytest.MonkeyPatch, words: list[str], asked: bool
) -> None:
    def begun(*_: Any) -> None:
        assert torch.are_deterministic_algorithms_enabled() is asked
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == (":4096:8" if asked else "")
        raise Joined

    monkeypatch.setattr(start, "carry_out", begun)
    monkeypatch.setattr("sys.argv", ["train.py", *words])
    with pytest.raises(Joined):
        fsdp.main()


@pytest.mark.usefixtures("restored")
def test_an_operation_without_such_a_form_raises() -> None:
    process_settings.ask_determinism()
    with pytest.raises(RuntimeError, match="does not have a deterministic implementation"):
        torch.zeros(4).put_(torch.tensor([0]), torch.tensor([1.0]), accumulate=False)
