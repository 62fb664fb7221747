# Prepares a host of AWS Batch before its ECS agent starts: its own disks, the shared file system, the agent itself.
# SCRATCH, SHARED_PATH, LUSTRE_DNS and LUSTRE_NAME are set before it. HOST_ROOT is empty but in tests.
set -euo pipefail
etc="${HOST_ROOT:-}/etc"

make_scratch() {
  local disks device
  mapfile -t disks < <(lsblk --nodeps --noheadings --paths --output NAME,MODEL | awk '/Instance Storage/ {print $1}')
  mkdir -p "${HOST_ROOT:-}$SCRATCH"
  if ((${#disks[@]} > 0)); then
    device="${disks[0]}"
    if ((${#disks[@]} > 1)); then
      command -v mdadm >/dev/null || dnf install --assumeyes --quiet mdadm
      device=/dev/md/scratch
      mdadm --create "$device" --run --force --level=0 --raid-devices="${#disks[@]}" "${disks[@]}"
    fi
    mkfs.xfs -q -f "$device"
    mount -o noatime "$device" "${HOST_ROOT:-}$SCRATCH"
  fi
  # Jobs run as users of their images' choice.
  chmod 1777 "${HOST_ROOT:-}$SCRATCH"
}

mount_shared() {
  local attempt
  # Packages come from Amazon Linux's repositories in S3; a network that has just come up may need a moment.
  for attempt in {1..10}; do
    rpm --query --quiet lustre-client || dnf install --assumeyes --quiet lustre-client || true
    mountpoint --quiet "${HOST_ROOT:-}$SHARED_PATH" && return
    mount "${HOST_ROOT:-}$SHARED_PATH" && return
    echo "trainforge: $SHARED_PATH is not mounted yet (attempt $attempt)"
    sleep "${RETRY_SECONDS:-15}"
  done
  echo "trainforge: $SHARED_PATH cannot be mounted, so this host takes no jobs" >&2
  return 1
}

mkdir -p "${HOST_ROOT:-}$SHARED_PATH" "$etc/ecs" "$etc/systemd/system/ecs.service.d"
echo "$LUSTRE_DNS@tcp:/$LUSTRE_NAME ${HOST_ROOT:-}$SHARED_PATH lustre relatime,flock,_netdev,nofail 0 0" >>"$etc/fstab"

# A job on a host without the file system would write to the root volume, and lose it: the agent starts with it only.
printf '[Unit]\nRequiresMountsFor=%s\n' "$SHARED_PATH" >"$etc/systemd/system/ecs.service.d/shared.conf"

# Jobs have a role of their own and must not reach the host's. Tags of images never move, so a copy is as good as the
# registry's. Two minutes are for a last checkpoint.
cat >>"$etc/ecs/ecs.config" <<'CONFIG'
ECS_AWSVPC_BLOCK_IMDS=true
ECS_ENABLE_AWSLOGS_EXECUTIONROLE_OVERRIDE=true
ECS_IMAGE_PULL_BEHAVIOR=prefer-cached
ECS_CONTAINER_STOP_TIMEOUT=2m
CONFIG

systemctl daemon-reload
make_scratch
mount_shared
