"""A placeholder for Picotron's train.py, for the tests of our launch file: it reads the same file, and trains nothing.

It takes its batches, saves and loads by the classes whose names and arguments Picotron's have, at the commit of
workloads/picotron/picotron.txt. Its loss is a number that depends on every batch that was taken.
"""

import argparse
import json
import os
import time

import torch
import torch.distributed as dist
import wandb  # noqa: F401 Picotron imports both always
from flash_attn.flash_attn_interface import flash_attn_func  # noqa: F401
from picotron.checkpoint import CheckpointManager
from picotron.data import MicroBatchDataLoader
from picotron.utils import get_num_params

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    with open(parser.parse_args().config, encoding="utf-8") as file:
        config = json.load(file)
    assert config["environment"]["HF_TOKEN"] is None
    assert os.environ["HF_TOKEN"]
    assert os.path.exists("hf_model_safetensors/model.safetensors")
    assert os.path.exists(os.path.join("hf_model", config["model"]["name"], "config.json"))
    sizes, training, checkpoint = config["distributed"], config["training"], config["checkpoint"]
    dist.init_process_group("gloo", init_method="env://")
    assert dist.get_world_size() == sizes["dp_size"] * sizes["tp_size"] * sizes["pp_size"] * sizes["cp_size"]
    loader = MicroBatchDataLoader(
        micro_batch_size=training["micro_batch_size"],
        grad_acc_steps=training["gradient_accumulation_steps"],
        rank=dist.get_rank() // (sizes["pp_size"] * sizes["cp_size"] * sizes["tp_size"]),
        ranks=sizes["dp_size"],
    )
    assert get_num_params(None) == 1
    state = {"total": torch.zeros(1, dtype=torch.float64)}
    manager, step, tokens = CheckpointManager(), 0, 0
    if checkpoint["load_path"]:
        step, tokens = manager.load_checkpoint(state, None, checkpoint["load_path"])
    while step < training["total_train_steps"]:
        for _ in range(loader.grad_acc_steps):
            state["total"] += next(loader).double().sum()
        step += 1
        time.sleep(0.1)
        total = state["total"].clone()
        dist.all_reduce(total)
        # The last stage of the first copy of the model.
        if dist.get_rank() == (sizes["pp_size"] - 1) * sizes["cp_size"] * sizes["tp_size"]:
            print(
                f"[rank {dist.get_rank()}] Step: {step:<5d} | Loss: {total.item() / step:6.4f} | "
                f"Global batch size:    1.00K | "
                f"Tokens/s:  10.61K | Tokens/s/GPU:   5.30K | Tokens:   6.14K | MFU:  0.43% | Memory usage:   0.00GB",
                flush=True,
            )
        if step % checkpoint["save_frequency"] == 0:
            manager.save_checkpoint(state, None, step, tokens, checkpoint["save_dir"] + f"/{step}")
            dist.barrier()
    dist.barrier()
    dist.destroy_process_group()
