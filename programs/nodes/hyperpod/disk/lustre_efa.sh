#!/bin/bash
# Lets the Lustre client (LNet) of a node reach an EFA-enabled file system over EFA; TCP stays beside it.
#
# The steps are those of the FSx for Lustre user guide, "Configuring EFA clients": the modules lnet, kefalnd and ksocklnd,
# a TCP network on the primary interface, EFA networks on some of the node's devices, and a policy that prefers EFA.
# If something is missing or fails, the client stays on TCP with a message, and the node joins its cluster in any case.
set -uo pipefail

# A root other than / is for tests.
root=${NODE_ROOT:-}
# The guide's value for a client that does not use GPUDirect Storage.
peer_credits=32

say() { printf '%s lustre over EFA: %s\n' "$(date -u +%FT%TZ)" "$*"; }

stay_on_tcp() {
  say "$*: Lustre is mounted over TCP"
  lnetctl net del --net efa >/dev/null 2>&1
  # Without a network at all no mount works; unconfigured, LNet makes its default TCP network at the first mount.
  lnetctl net show --net tcp 2>/dev/null | grep -q '@tcp' || lnetctl lnet unconfigure >/dev/null 2>&1
  exit 0
}

for program in lnetctl modprobe modinfo ip; do
  command -v "$program" >/dev/null || stay_on_tcp "program '$program' is not installed"
done
modinfo kefalnd >/dev/null 2>&1 || stay_on_tcp "the Lustre client has no module kefalnd"
if lnetctl net show --net efa 2>/dev/null | grep -q '@efa'; then
  say "it is set up already"
  exit 0
fi

mapfile -t devices < <(
  for device in "$root"/sys/class/infiniband/*; do
    driver=$(readlink -f "$device/device/driver" 2>/dev/null) || continue
    [ "$(basename "$driver")" != efa ] || basename "$device"
  done
)
[ "${#devices[@]}" -gt 0 ] || stay_on_tcp "the node has no EFA device"

# The guide's choice: on nodes with many devices one for each PCI bus, which is every fourth; else the first and the last.
chosen=()
if [ "${#devices[@]}" -ge 32 ]; then
  for ((index = 0; index < ${#devices[@]}; index += 4)); do
    chosen+=("${devices[index]}")
  done
else
  chosen+=("${devices[0]}")
  [ "${#devices[@]}" -eq 1 ] || chosen+=("${devices[-1]}")
fi

primary=$(ip -4 route show default | awk '{ for (i = 1; i < NF; i++) if ($i == "dev") { print $(i + 1); exit } }')
[ -n "$primary" ] || stay_on_tcp "the node has no default route"

modprobe lnet || stay_on_tcp "module lnet does not load"
modprobe kefalnd "ipif_name=$primary" || stay_on_tcp "module kefalnd does not load"
modprobe ksocklnd || stay_on_tcp "module ksocklnd does not load"
lnetctl lnet configure || stay_on_tcp "LNet is not configured"
lnetctl net del --net tcp >/dev/null 2>&1
lnetctl net add --net tcp --if "$primary" || stay_on_tcp "LNet takes no TCP network on $primary"
for device in "${chosen[@]}"; do
  lnetctl net add --net efa --if "$device" --peer-credits "$peer_credits" ||
    stay_on_tcp "LNet takes no EFA network on $device"
done
lnetctl set discovery 1 || stay_on_tcp "LNet does not discover peers"
lnetctl udsp add --src efa --priority 0 || stay_on_tcp "LNet takes no policy that prefers EFA"
say "${#chosen[@]} of ${#devices[@]} devices: ${chosen[*]}"
