#!/bin/bash
# Compares what is installed with the lock: check.sh locked PART..., where the playbook installed these parts, none of
# which may be absent or another, whatever else the parent has; and check.sh parent, where driver and libraries are the
# parent's, whose versions are shown and not judged.
set -euo pipefail

STACK=$1
HERE=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=python.sh
. "$HERE/python.sh"
PYTHON=$(new_python 3 9)

cd "$(dirname "$HERE")"
required=()
for part in "${@:2}"; do
  required+=(--require "$part")
done
code=0
"$PYTHON" -m software "${required[@]}" || code=$?
# Exit codes of the program: 1 for a mismatch, 3 if nothing of the lock is installed.
if [ "$STACK" = parent ] && { [ "$code" -eq 1 ] || [ "$code" -eq 3 ]; }; then
  code=0
fi
exit "$code"
