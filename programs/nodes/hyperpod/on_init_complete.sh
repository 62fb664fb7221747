#!/usr/bin/env bash
# Entry of the node set-up, which HyperPod runs as OnInitComplete. The log is opened before anything that can fail:
# a lifecycle script that ends without a message leaves no reason why the node did not start.
set -u
umask 022

log="${TRAINFORGE_NODE_SETUP_LOG:-/var/log/trainforge/node-setup.log}"
export TRAINFORGE_NODE_SETUP_LOG="${log}"
if mkdir -p "$(dirname "${log}")" && : >>"${log}"; then
    # --output-error=warn: the file is still written when the reader of our output has ended.
    exec > >(tee -a --output-error=warn "${log}") 2>&1
else
    printf "log file '%s' cannot be written; this output is the only log\n" "${log}"
    exec 2>&1
fi

say() { printf '%s [entry] %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$1"; }

directory="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
say "started on $(uname -n) from '${directory}'; log: ${log}"

# Appended, so that what the caller puts first wins; a lifecycle script does not read login profiles.
export PATH="${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin:/opt/slurm/bin"
export PYTHONDONTWRITEBYTECODE=1
if ! command -v python3 >/dev/null; then
    say "failed: python3 is not on this node; log: ${log}; next: use an image that has Python 3.10 or later"
    exit 1
fi
cd "${directory}" || exit 1
exec python3 -u node_setup.py "$@"
