"""Reports on profiles of runs: traces of torch's profiler and exports of nsys, read by rank, compared and drawn."""
