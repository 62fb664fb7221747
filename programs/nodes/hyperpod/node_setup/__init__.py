"""What the HyperPod API does not configure on a node: users, packages, enroot, and a check of pyxis."""
