#!/bin/bash
# Points containerd and the kubelet of a HyperPod node at its data volume, and has Lustre's client use EFA where asked.
#
# HyperPod runs this as root before the node joins its EKS cluster, and once more after an update of its software, which
# replaces the root volume and keeps the data volume. Where the links are there, running it again changes nothing.
# Images and pods' volumes would fill the root volume otherwise. The folders are moved and linked, whatever release of
# containerd reads them. A failure ends with a code other than 0, and HyperPod reports it with the log.
set -euo pipefail

# A root other than / is for tests.
root=${NODE_ROOT:-}
# HyperPod mounts the group's data volume here. Without one the folder is missing, and the node stays as it is.
volume=$root/opt/sagemaker
wait_seconds=${VOLUME_WAIT_SECONDS:-60}

say() { printf '%s data volume: %s\n' "$(date -u +%FT%TZ)" "$*"; }

await_volume() {
  local waited=0
  until mountpoint -q "$volume"; do
    if [ "$waited" -ge "$wait_seconds" ]; then
      return 1
    fi
    sleep 1
    waited=$((waited + 1))
  done
}

# Moves one service's folder to the volume and leaves a link. A service that runs is stopped before and started after.
move() {
  local service=$1 from=$root/var/lib/$1 to=$volume/$1 ran=no
  if [ "$(readlink -f "$from" 2>/dev/null)" = "$(readlink -f "$to" 2>/dev/null)" ] && [ -L "$from" ]; then
    say "$service is there already"
    return
  fi
  if systemctl is-active --quiet "$service"; then
    ran=yes
    systemctl stop "$service"
  fi
  # What pods have mounted cannot be moved under them, nor deleted with what the last image left.
  local folder
  for folder in "$from" "$to"; do
    if awk -v under="$folder/" 'index($5, under) == 1 { found = 1 } END { exit !found }' /proc/self/mountinfo; then
      say "$service has mounts below $folder and stays where it is" >&2
      [ "$ran" = no ] || systemctl start "$service"
      return 1
    fi
  done
  # Without the link the root volume is new, so what the data volume holds is of the image before: its snapshots and the
  # kubelet's certificate do not belong to this one.
  [ -L "$from" ] || rm -rf "$to"
  mkdir -p "$to"
  if [ -d "$from" ] && [ ! -L "$from" ]; then
    cp -a "$from/." "$to/"
    rm -rf "$from"
  fi
  mkdir -p "$(dirname "$from")"
  ln -sfn "$to" "$from"
  [ "$ran" = no ] || systemctl start "$service"
  say "$service is at $to"
}

# Put beside this script where the deployment's Lustre file system takes clients over EFA.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ ! -e "$here/lustre-over-efa" ] || bash "$here/lustre_efa.sh"

if ! await_volume; then
  say "nothing is mounted at $volume after $wait_seconds s: containerd and the kubelet stay on the root volume"
  exit 0
fi
# The kubelet first: it uses containerd.
move kubelet
move containerd
