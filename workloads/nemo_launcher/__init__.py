"""The workload nemo-launcher: the benchmarks of NVIDIA's launcher for NeMo 1, pre-training of GPT-3 and Llama 2."""
