# shellcheck shell=bash
# new_python 3 10: the Python of at least this version. The lock has an Ansible for 3.10, which Ubuntu 22.04 has, and one
# for newer ones; the check of the software needs 3.9, which Amazon Linux 2023 has for its own.
new_python() {
  local name
  for name in python3 python3.13 python3.12; do
    if "$name" -c "import sys; sys.exit(sys.version_info < ($1, $2))" 2>/dev/null; then
      echo "$name"
      return 0
    fi
  done
  echo "no Python of version $1.$2 or newer is installed" >&2
  return 1
}
