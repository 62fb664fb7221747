"""The trainer of the workload jax: a decoder in Flax NNX, sharded over a mesh of data and model parallelism."""
