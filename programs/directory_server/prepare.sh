#!/usr/bin/env bash
# Creates slapd's certificate and configuration before it starts. It may run at any time: parts that are valid stay.
# Prints 'restart' when slapd has to be restarted, else nothing.
#
# All files are below DIRECTORY, the volume that outlives this machine. The configuration has no data of people and is
# written again whenever it would differ, so that an old volume gets the configuration of a newer version.
set -euo pipefail
umask 077

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
directory="${DIRECTORY:-/var/lib/ldap}"
input="${INPUT:-/run/trainforge-directory}"
owner="${OWNER:-openldap}"
schemas="${SCHEMAS:-/etc/ldap/schema}"
modules="${MODULES:-/usr/lib/ldap}"

authority_days=3650
# Browsers' limit for a server's certificate, for want of a better one; renewed when a month is left.
server_days=397
renew_seconds=$((30 * 86400))

changed=no
say() { printf '%s [prepare] %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$1" >&2; }
changed() {
    changed=yes
    say "changed: $1"
}
setting() { python3 "${here}/settings.py" "${input}/directory.json" "$1"; }

host="$(setting host)"
suffix="$(setting suffix)"
tls="${directory}/tls"
mkdir -p "${tls}" "${directory}/data"
staging="$(mktemp -d "${directory}/.staging.XXXXXX")"
trap 'rm -rf "${staging}"' EXIT

ensure_authority() {
    if [ -s "${tls}/authority.pem" ] && [ -s "${tls}/authority.key" ]; then
        return
    fi
    # It may sign for this host alone: a stolen key cannot impersonate other hosts.
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -sha384 -days "${authority_days}" \
        -subj "/CN=${host} authority" -keyout "${staging}/authority.key" -out "${staging}/authority.pem" \
        -addext 'basicConstraints=critical,CA:TRUE,pathlen:0' -addext 'keyUsage=critical,keyCertSign,cRLSign' \
        -addext "nameConstraints=critical,permitted;DNS:${host}" 2>"${staging}/openssl.log" ||
        fail "openssl made no authority: $(tail -n 1 "${staging}/openssl.log")"
    mv "${staging}/authority.key" "${staging}/authority.pem" "${tls}/"
    changed "authority made"
}

ensure_signed_certificate() {
    ensure_authority
    if [ -s "${tls}/server.key" ] && fits "${tls}/server.pem" "${tls}/authority.pem"; then
        install_file "${tls}/authority.pem" "${tls}/ca.pem"
        return
    fi
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -subj "/CN=${host}" \
        -keyout "${staging}/server.key" -out "${staging}/server.csr" 2>"${staging}/openssl.log" ||
        fail "openssl made no request: $(tail -n 1 "${staging}/openssl.log")"
    printf '%s\n' "subjectAltName=DNS:${host}" 'basicConstraints=critical,CA:FALSE' \
        'keyUsage=critical,digitalSignature' 'extendedKeyUsage=serverAuth' >"${staging}/extensions"
    openssl x509 -req -sha384 -days "${server_days}" -in "${staging}/server.csr" -extfile "${staging}/extensions" \
        -CA "${tls}/authority.pem" -CAkey "${tls}/authority.key" -CAcreateserial -CAserial "${staging}/serial" \
        -out "${staging}/server.pem" 2>"${staging}/openssl.log" ||
        fail "openssl signed nothing: $(tail -n 1 "${staging}/openssl.log")"
    install_file "${tls}/authority.pem" "${tls}/ca.pem"
    mv "${staging}/server.key" "${staging}/server.pem" "${tls}/"
    changed "certificate of '${host}' made for ${server_days} days"
}

ensure_given_certificate() {
    local part
    for part in certificate private_key ca; do
        python3 "${here}/settings.py" "${input}/certificate.json" "${part}" >"${staging}/${part}.pem"
    done
    fits "${staging}/certificate.pem" "${staging}/ca.pem" ||
        fail "the certificate given is not one of '${host}' that its 'ca' signed and that holds for 30 days more"
    [ "$(openssl x509 -in "${staging}/certificate.pem" -noout -pubkey)" = \
        "$(openssl pkey -in "${staging}/private_key.pem" -pubout)" ] ||
        fail "the private key given is not that of the certificate"
    install_file "${staging}/ca.pem" "${tls}/ca.pem"
    install_file "${staging}/private_key.pem" "${tls}/server.key"
    install_file "${staging}/certificate.pem" "${tls}/server.pem"
}

# Succeeds if a certificate is of the host, signed by the authority, and valid for some time.
fits() {
    [ -s "$1" ] &&
        openssl x509 -in "$1" -noout -checkend "${renew_seconds}" >/dev/null &&
        openssl x509 -in "$1" -noout -checkhost "${host}" | grep -q 'does match' &&
        openssl verify -CAfile "$2" "$1" >/dev/null 2>&1
}

install_file() {
    if ! cmp -s "$1" "$2"; then
        cp "$1" "$2.new"
        mv "$2.new" "$2"
        changed "'$2' written"
    fi
}

ensure_configuration() {
    local rendered="${staging}/configuration.ldif"
    sed -e "s|@SUFFIX@|${suffix}|g" -e "s|@DIRECTORY@|${directory}|g" -e "s|@SCHEMAS@|${schemas}|g" \
        -e "s|@MODULES@|${modules}|g" "${here}/configuration.ldif" >"${rendered}"
    # Beside the data: Ubuntu's AppArmor profile of slapd, whose other name slapadd is, lets it read there and not here.
    install_file "${here}/public-key-schema.ldif" "${directory}/public-key-schema.ldif"
    # Its digest is in what is compared: another schema is another configuration.
    printf '\n# %s\n' "$(sha256sum <"${here}/public-key-schema.ldif")" >>"${rendered}"
    if [ -d "${directory}/config" ] && cmp -s "${rendered}" "${directory}/configuration.ldif"; then
        return
    fi
    mkdir "${staging}/config"
    slapadd -n 0 -F "${staging}/config" -l "${rendered}" 2>"${staging}/slapadd.log" ||
        fail "slapd refuses its configuration: $(tail -n 3 "${staging}/slapadd.log" | tr '\n' ' ')"
    rm -rf "${directory}/config.old"
    if [ -d "${directory}/config" ]; then
        mv "${directory}/config" "${directory}/config.old"
    fi
    mv "${staging}/config" "${directory}/config"
    # Last: a run that was cut off before is done again.
    cp "${rendered}" "${directory}/configuration.ldif"
    changed "configuration of slapd written"
}

fail() {
    say "failed: $1"
    exit 1
}

if [ -s "${input}/certificate.json" ]; then
    ensure_given_certificate
else
    ensure_signed_certificate
fi
ensure_configuration
# The authority's key is root's: slapd never needs it.
chown -R "${owner}:" "${directory}/config" "${directory}/data" "${tls}/server.key" "${tls}/server.pem" "${tls}/ca.pem"
chown "${owner}:" "${directory}" "${tls}"
[ "${changed}" = no ] || echo restart
