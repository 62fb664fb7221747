"""A placeholder for Picotron's checkpoints: the same names of folders and files, on one pipeline stage."""

import os

import torch
import torch.distributed as dist


class CheckpointManager:
    """Saves and loads a file on rank 0 of the data-parallel ranks."""

    def _get_checkpoint_path(self, out_dir: str) -> str:
        return os.path.join(out_dir, "weights_tp_rank_world_size=0_1_pp_rank_world_size=0_1.pth")

    def save_checkpoint(self, model, optimizer, trained_steps, trained_tokens, out_dir):
        """Save what rank 0 has."""
        totals = [torch.zeros_like(model["total"]) for _ in range(dist.get_world_size())]
        dist.all_gather(totals, model["total"])
        if dist.get_rank() == 0:
            os.makedirs(out_dir, exist_ok=True)
            torch.save(
                {"totals": totals, "steps": trained_steps, "tokens": trained_tokens},
                self._get_checkpoint_path(out_dir),
            )

    def load_checkpoint(self, model, optimizer, out_dir):
        """Load the state of this rank."""
        found = torch.load(self._get_checkpoint_path(out_dir))
        model["total"] = found["totals"][dist.get_rank()]
        return found["steps"], found["tokens"]
