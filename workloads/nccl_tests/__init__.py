"""The workload nccl-tests: bandwidth and correctness of NCCL's collectives, started by MPI."""
