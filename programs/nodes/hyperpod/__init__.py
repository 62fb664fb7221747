"""Set-up of a HyperPod node beyond what the HyperPod API configures: users, packages, enroot, a check of pyxis."""
