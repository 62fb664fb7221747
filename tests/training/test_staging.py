"""Torch's copy of the state, as several of its versions make it: one of them cannot copy twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_ports
from tests.training import fsdp_modules

torch = fsdp_modules.torch

from torch.distributed.checkpoint.staging import DefaultStager  # noqa: E402
from training.distributed_checkpoint import DistributedCheckpoints  # noqa: E402
from training.process_group import joined  # noqa: E402


@pytest.mark.parametrize("lasts", [True, False])
def test_saves_follow_one_another_whether_or_not_the_stager_lasts(
    lasts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With torch 2.11, the images' version, a stager is closed after each copy (pytorch issue 183413)."""
    stage = DefaultStager._stage

    def once(self: DefaultStager, *words: Any, **options: Any) -> Any:
        copied = stage(self, *words, **options)
        if not lasts:
            self._state_dict_stager.close()
        return copied

    monkeypatch.setattr(DefaultStager, "_stage", once)
    for name, value in {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_PORT", str(free_ports(1)[0]))
    with joined("cpu") as ranks:
        checkpoints = DistributedCheckpoints(tmp_path, ranks)
        for step in (1, 2, 3):
            checkpoints.save(step, {"weight": torch.full((8,), float(step)), "data": {"at": step}}, {})
            assert checkpoints.wait() == step
        found = checkpoints.load(lambda _: {"weight": torch.zeros(8), "data": {"at": 0}})
        checkpoints.close()
    assert found is not None
    assert found[0] == 3
    assert float(found[1]["weight"][0]) == 3
