"""Parts of the launch file of bionemo-esm1nv: the values for BioNeMo's program, and a placeholder for processors."""
