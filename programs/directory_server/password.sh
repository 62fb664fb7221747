#!/usr/bin/env bash
# Sets a person's password: trainforge-directory-password NAME. Asks for it twice; only root may.
set -euo pipefail

input="${INPUT:-/run/trainforge-directory}"
socket="${SOCKET:-/run/slapd/ldapi}"
here="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)"

if [[ ! "${1:-}" =~ ^[a-z_][a-z0-9_-]*$ ]]; then
    echo "usage: trainforge-directory-password NAME, the login name of a person in the directory" >&2
    exit 2
fi
suffix="$(python3 "${here}/settings.py" "${input}/directory.json" suffix)"
exec ldappasswd -Q -Y EXTERNAL -H "ldapi://${socket//\//%2F}" -S "uid=$1,ou=people,${suffix}"
