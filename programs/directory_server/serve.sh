#!/usr/bin/env bash
# Runs slapd in the foreground on what prepare.sh made: TLS for the nodes, a socket for root of this machine.
set -euo pipefail

directory="${DIRECTORY:-/var/lib/ldap}"
owner="${OWNER:-openldap}"
socket="${SOCKET:-/run/slapd/ldapi}"
urls="${URLS:-ldaps:///}"

# A URL of a socket has its path percent-encoded.
exec slapd -d 0 -F "${directory}/config" -u "${owner}" -g "${owner}" -h "${urls} ldapi://${socket//\//%2F}"
