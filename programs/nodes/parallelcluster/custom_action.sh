#!/usr/bin/env bash
# Custom action of ParallelCluster. The program that it starts follows the last line of this script, as a
# ZIP archive: ParallelCluster downloads one file for an action, and a second download could fail or be another
# version. `unzip -l FILE` shows what is in it.
#   custom_action start [S3-URL-OF-CERTIFICATE]
#   custom_action configured
# Further arguments (the revision, which makes an update run it again) are logged and have no effect.
set -u
umask 022

event="${1:-}"
root="${TRAINFORGE_ROOT:-}"
log="${root}/var/log/trainforge/node-setup.log"
folder="${root}/opt/trainforge/node-setup"
export TRAINFORGE_LOG="${log}"

# Standard error stays apart: ParallelCluster puts it into the event of a node that fails.
if mkdir -p "$(dirname "${log}")" && : >>"${log}"; then
    exec > >(tee -a --output-error=warn "${log}")
else
    printf "log file '%s' cannot be written; this output is the only log\n" "${log}" >&2
fi

say() { printf '%s [entry] %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$1"; }
fail() {
    say "failed: $1; log: ${log}; next: $2"
    printf 'failed: %s; log: %s; next: %s\n' "$1" "${log}" "$2" >&2
    exit 1
}

say "'$*' on $(uname -n); log: ${log}"
# Appended, so that what the caller puts first wins; nothing here reads login profiles.
export PATH="${PATH:-/usr/bin:/bin}:/usr/local/bin:/usr/local/sbin:/usr/sbin:/sbin:/opt/slurm/bin"
export PYTHONDONTWRITEBYTECODE=1
command -v python3 >/dev/null || fail "python3 is not on this node" "use an image that has Python 3.9 or later"

# A fresh copy each time, so that no file of an earlier version is left in it.
rm -rf "${folder}" || fail "folder '${folder}' cannot be removed" "see what keeps it"
mkdir -p "${folder}" || fail "folder '${folder}' cannot be made" "see that the root disk is writable"
python3 -m zipfile -e "$0" "${folder}" || fail "the program cannot be unpacked from '$0'" \
    "see that the object in the scripts bucket is whole, and deploy the cluster's stack again"
shift
exec python3 -u "${folder}/set_up.py" --root "${root:-/}" "${event}" "$@"
