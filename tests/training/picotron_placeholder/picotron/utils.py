"""A placeholder for a function of Picotron that names a GPU."""

import torch


def get_num_params(model):
    """Return a number that went through a GPU's tensor."""
    return torch.tensor(1, device="cuda").item()
