#!/usr/bin/env bash
# Makes a new machine the directory server: packages, the volume, the services. User data starts it, once; it may be
# run again.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
directory="${DIRECTORY:-/var/lib/ldap}"
log="${LOG:-/var/log/trainforge/directory.log}"
units="${UNITS:-/etc/systemd/system}"
machine="${MACHINE:-${here}/machine.py}"
fstab="${FSTAB:-/etc/fstab}"
links="${LINKS:-/usr/local/sbin}"
packages=(slapd ldap-utils openssl python3-boto3)

mkdir -p "$(dirname "${log}")"
exec > >(tee -a "${log}") 2>&1
say() { printf '%s [set-up] %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$1"; }

# Every end is signalled to the deployment.
finished=no
tell() {
    if [ "${finished}" = yes ]; then
        python3 "${machine}" signal SUCCESS
    else
        say "failed; the log is '${log}'"
        python3 "${machine}" signal FAILURE || true
    fi
}
trap tell EXIT

ensure_packages() {
    local missing=() package attempt
    for package in "${packages[@]}"; do
        dpkg-query --show --showformat='${Status}' "${package}" 2>/dev/null | grep -q 'ok installed' ||
            missing+=("${package}")
    done
    if [ "${#missing[@]}" = 0 ]; then
        return
    fi
    # The package's own service would make a directory of its own; ours replaces it.
    systemctl mask --quiet slapd.service
    echo 'slapd slapd/no_configuration boolean true' | debconf-set-selections
    for attempt in 1 2 3 4 5; do
        if apt-get -o DPkg::Lock::Timeout=300 update &&
            DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install --yes \
                --no-install-recommends "${missing[@]}"; then
            say "changed: installed ${missing[*]}"
            return
        fi
        say "packages: attempt ${attempt} of 5 failed"
        sleep $((attempt * 10))
    done
    say "packages ${missing[*]} cannot be installed: is there a way to Ubuntu's mirrors?"
    return 1
}

ensure_volume() {
    local device uuid code=0
    if mountpoint --quiet "${directory}"; then
        return
    fi
    device="$(python3 "${machine}" attach)"
    # blkid's code 2 means that nothing was found; any other failure must not end in a new file system.
    blkid --probe "${device}" >/dev/null || code=$?
    if [ "${code}" = 2 ]; then
        mkfs.ext4 -q -L directory "${device}"
        say "changed: file system made on '${device}'"
    elif [ "${code}" != 0 ]; then
        say "blkid cannot tell what is on '${device}' (code ${code})"
        return 1
    fi
    uuid="$(blkid --probe --output value --match-tag UUID "${device}")"
    if ! grep -q "UUID=${uuid} " "${fstab}"; then
        echo "UUID=${uuid} ${directory} ext4 defaults,nofail,nodev,nosuid,noexec 0 2" >>"${fstab}"
    fi
    mkdir -p "${directory}"
    mount "${directory}"
    say "changed: '${device}' mounted on '${directory}'"
}

ensure_services() {
    local unit
    for unit in "${here}"/units/*; do
        cmp -s "${unit}" "${units}/$(basename "${unit}")" || install -m 644 "${unit}" "${units}/"
    done
    systemctl daemon-reload
    systemctl enable --quiet trainforge-directory.service trainforge-directory-refresh.timer
}

say "started on $(uname -n)"
# As objects of a bucket they have lost it.
chmod +x "${here}"/*.sh
ensure_packages
ensure_volume
ensure_services
"${here}/refresh.sh"
systemctl start trainforge-directory-refresh.timer
ln -sf "${here}/password.sh" "${links}/trainforge-directory-password"
finished=yes
say "the directory is served"
