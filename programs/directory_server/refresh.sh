#!/usr/bin/env bash
# Brings the directory to its configuration: run at the end of the set-up, and by a timer every five minutes. A run
# that finds all as it should be changes nothing and says so.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
machine="${MACHINE:-${here}/machine.py}"
service=trainforge-directory.service

python3 "${machine}" fetch
verdict="$("${here}/prepare.sh")"
if [ "${verdict}" = restart ] || ! systemctl --quiet is-active "${service}"; then
    systemctl restart "${service}"
fi
python3 "${here}/apply.py"
python3 "${machine}" publish
