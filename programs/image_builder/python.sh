# shellcheck shell=bash
# The Python that is new enough for Ansible and for the check of the software: Amazon Linux 2023 has 3.9 for its own.
new_python() {
  local name
  for name in python3 python3.13 python3.12; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then
      echo "$name"
      return 0
    fi
  done
  echo "no Python of version 3.12 or newer is installed" >&2
  return 1
}
