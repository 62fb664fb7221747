# shellcheck shell=bash
# new_python 3 12: the Python of at least this version. Ansible needs 3.12, and the check of the software 3.9, which
# Amazon Linux 2023 has for its own.
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
