"""The own modules of nccom-tests' program for tests in this process: on a node they are beside the program.

A test module imports this before it imports a program of the workload.
"""

from __future__ import annotations

import sys

from tests.programs import ROOT

FOLDER = ROOT / "workloads" / "nccom_tests"

for _folder in (FOLDER, ROOT / "workloads" / "runtime"):
    if str(_folder) not in sys.path:
        # At the end: nothing of a workload may come before a library of the same name.
        sys.path.append(str(_folder))

STUB = """#!/bin/bash
# In the place of nccom-test where there are no Neuron devices: mpirun on its hosts, and a table of the guide.
set -euo pipefail
echo "stub for nccom-test: $*; root ${NEURON_RT_ROOT_COMM_ID:-none}"
hosts=(); workers=; nodes=1
while [ $# -gt 0 ]; do
  case "$1" in
    --hosts) shift; hosts=("$@"); break ;;
    --nworkers) workers="$2"; shift ;;
    --nnodes) nodes="$2"; shift ;;
  esac
  shift
done
if [ "$nodes" -gt 1 ]; then
  list="$(IFS=,; echo "${hosts[*]}")"
  mpirun -np "$nodes" --host "$list" -N 1 bash -c 'echo "neuron-bench $OMPI_COMM_WORLD_RANK of $OMPI_COMM_WORLD_SIZE"'
fi
echo "    size(B)    count(elems)    type    time:avg(us)    algbw(GB/s)    busbw(GB/s)"
echo "       1024             256    fp32            6.19           0.17           0.16"
echo "     524288          131072    fp32           23.11          22.69          21.98"
if [ -n "${STUB_FAILS:-}" ]; then echo "1 errors found - test failed"; exit 0; fi
echo "Avg bus bandwidth:      7.7775GB/s"
"""
"""A program that takes nccom-test's place in tests; its figures are those of the tool's guide."""
