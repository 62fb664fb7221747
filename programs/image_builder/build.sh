#!/bin/bash
# Runs a playbook on the machine that it makes an image of: build.sh NAME, in the folder that the archive was unpacked to.
set -euo pipefail

NAME=$1
HERE=$(cd "$(dirname "$0")" && pwd)
FOLDER=$(dirname "$HERE")
ENVIRONMENT=$FOLDER/ansible

# apt and dnf belong to the first boot until it is over. Its exit code tells of warnings too.
cloud-init status --wait || true

# shellcheck source=python.sh
. "$HERE/python.sh"
if command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get -o DPkg::Lock::Timeout=600 update
  apt-get -o DPkg::Lock::Timeout=600 install -y python3-venv
elif ! new_python 3 10 >/dev/null; then
  dnf install -y python3.12
fi
PYTHON=$(new_python 3 10)

# The lock has a version of Ansible by that of Python: pip takes the one whose marker holds, by its hash.
"$PYTHON" -m venv "$ENVIRONMENT"
"$ENVIRONMENT/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
  --requirement "$FOLDER/machine_images/requirements.lock"
cd "$FOLDER/machine_images"
# The machine cannot wait for its own restart: the component updates packages, and restarts, before this.
ANSIBLE_CONFIG=$PWD/ansible.cfg LC_ALL=C.UTF-8 "$ENVIRONMENT/bin/ansible-playbook" \
  --connection local --inventory localhost, --extra-vars '{"packages_update": false}' "$NAME.yml"
