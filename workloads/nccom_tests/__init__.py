"""The workload nccom-tests: bandwidth and correctness of Neuron's collectives, started by MPI."""
