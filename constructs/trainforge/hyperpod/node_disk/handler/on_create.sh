#!/bin/bash
# Points containerd and the kubelet of a HyperPod node at its data volume, and does nothing else.
#
# HyperPod runs this once, as root, before the node joins its EKS cluster; running it again changes nothing.
# Images and pods' volumes would fill the root volume otherwise. The folders are moved and linked, whatever release of
# containerd reads them. A failure ends with a code other than 0, and HyperPod reports it with the log.
set -euo pipefail

# Another root than / is for trying it out.
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
  # What pods have mounted cannot be moved under them.
  if awk -v under="$from/" 'index($5, under) == 1 { found = 1 } END { exit !found }' /proc/self/mountinfo; then
    say "$service has mounts below $from and stays there" >&2
    [ "$ran" = no ] || systemctl start "$service"
    return 1
  fi
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

if ! await_volume; then
  say "nothing is mounted at $volume after $wait_seconds s: containerd and the kubelet stay on the root volume"
  exit 0
fi
# The kubelet first: it uses containerd.
move kubelet
move containerd
