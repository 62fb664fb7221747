"""The parts of the workload ray-train: the driver, the function of each rank, the options."""
