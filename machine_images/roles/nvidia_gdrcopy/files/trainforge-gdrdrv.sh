#!/bin/sh
# Loads GDRCopy's driver and makes /dev/gdrdrv: the module registers a number and makes no file, so that GDRCopy's own
# insmod.sh and services make it too, for all users.
set -eu
if ! grep --quiet --ignore-case 0x10de /sys/bus/pci/devices/*/vendor; then
  echo "no NVIDIA device is on this machine"
  exit 0
fi
modprobe gdrdrv
number="$(awk '$2 == "gdrdrv" { print $1 }' /proc/devices)"
rm -f /dev/gdrdrv
mknod --mode=666 /dev/gdrdrv c "$number" 0
