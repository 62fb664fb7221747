"""A linear regression on the processors of all ranks: a program without any knowledge of trainforge."""

import argparse
import gc

import torch
import torch.distributed as dist

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
options = parser.parse_args()

dist.init_process_group("gloo")
torch.manual_seed(dist.get_rank())
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=options.lr)
for _step in range(50):
    samples = torch.randn(64, 4)
    loss = (model(samples) - samples.sum(1, keepdim=True)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
if dist.get_rank() == 0:
    print(f"trained on {dist.get_world_size()} ranks, loss {loss.item():.4f}")
dist.barrier()
# A rank that leaves gloo while a reducer of DDP is still in memory aborts now and then.
del model, loss
gc.collect()
dist.barrier()
dist.destroy_process_group()
