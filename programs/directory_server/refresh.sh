#!/usr/bin/env bash
# Updates the directory to its configuration: at the end of the set-up, and by a timer every five minutes. A run
# without differences changes nothing and logs that.
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
