"""An Ansible connection to a root file system on this machine: commands run there by chroot, as root."""

from __future__ import annotations

import os
import shutil
import subprocess

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: debian_root
short_description: Runs commands in a root file system of this machine
description:
  - Runs commands by chroot(8). The host's name in the inventory is no matter; C(ansible_host) is the folder.
author: trainforge
options:
  remote_addr:
    description: The folder.
    type: str
    vars:
      - name: ansible_host
"""

# systemctl only writes links there, and Ansible's modules know that no service can be started.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "SYSTEMD_OFFLINE": "1",
    "debian_chroot": "trainforge",
}


class Connection(ConnectionBase):
    """The connection that `ansible_connection: debian_root` names."""

    transport = "debian_root"
    has_pipelining = True
    default_user = "root"

    def _connect(self):
        self._connected = True
        return self

    @property
    def root(self):
        return self.get_option("remote_addr")

    def exec_command(self, cmd, in_data=None, sudoable=False):
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        done = subprocess.run(
            ["chroot", self.root, "/bin/sh", "-c", cmd],
            input=in_data or b"",
            capture_output=True,
            check=False,
            env=ENVIRONMENT,
        )
        return done.returncode, done.stdout, done.stderr

    def put_file(self, in_path, out_path):
        super().put_file(in_path, out_path)
        shutil.copyfile(in_path, self._inside(out_path))

    def fetch_file(self, in_path, out_path):
        super().fetch_file(in_path, out_path)
        shutil.copyfile(self._inside(in_path), out_path)

    def close(self):
        self._connected = False

    def _inside(self, path):
        if not os.path.isabs(path):
            raise AnsibleConnectionFailure(f"path '{path}' is not absolute")
        return os.path.join(self.root, path.lstrip("/"))
