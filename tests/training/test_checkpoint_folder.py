"""The folder of distributed checkpoints: which files make one up, who looks at which of them, how many stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training import fsdp_modules

torch = fsdp_modules.torch

from training import checkpoint_folder  # noqa: E402
from training.checkpoint_folder import MARKER, CheckpointFolder  # noqa: E402
from training.distributed_checkpoint import DistributedCheckpoints  # noqa: E402
from training.errors import TrainingError  # noqa: E402
from training.process_group import Ranks  # noqa: E402


def test_a_file_that_no_rank_lists_is_no_part_of_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "step-000000005").mkdir()
    for file in ("__0_0.distcp", "__1_0.distcp"):
        (tmp_path / "step-000000005" / file).write_bytes(b"x")
    told = checkpoint_folder.contents(tmp_path / "step-000000005", ["__0_0.distcp"])
    with pytest.raises(OSError, match=r"__1_0\.distcp"):
        CheckpointFolder(tmp_path).finish(5, {}, told)
    assert not (tmp_path / "step-000000005" / MARKER).exists()


@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_each_file_is_looked_at_by_one_rank_and_a_rank_s_own_by_itself(count: int) -> None:
    files = [".metadata", *(f"__{rank}_0.distcp" for rank in range(16))]
    shares = [checkpoint_folder.share(files, rank, count) for rank in range(count)]
    assert sorted(file for share in shares for file in share) == sorted(files)
    assert all(f"__{rank}_0.distcp" in shares[rank] for rank in range(count))


def test_keeping_none_is_refused(ranks: Ranks, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="--keep is 0"):
        DistributedCheckpoints(tmp_path, ranks, keep=0)
