"""The secret of the accounting database's password, from ParallelCluster's files on the head node."""

from __future__ import annotations

import re

from ..common.configuration import Accounting
from ..common.node import Node

# It brings the password into slurmdbd.conf when it is run, and nothing runs it (aws-parallelcluster-cookbook,
# recipes/config/config_slurm_accounting.rb and templates/.../update_slurm_database_password.sh.erb).
_SCRIPT = "/opt/parallelcluster/scripts/slurm/update_slurm_database_password.sh"
_SECRET = re.compile(r'^SECRET_ARN="(arn:[^"\s]+)"', re.MULTILINE)


def accounting_of(node: Node) -> Accounting | None:
    """Return the secret that slurmdbd's password comes from; None where the cluster has no database.

    Read from ParallelCluster's own script and not given as an argument: ParallelCluster refuses to change the
    arguments of a head node that exists, and so no database could be added to it.
    """
    try:
        text = node.path(_SCRIPT).read_text(encoding="utf-8")
    except OSError:
        return None
    found = _SECRET.search(text)
    if found is None:
        node.log(f"WARNING: '{_SCRIPT}' names no secret; slurmdbd will not follow a rotation of its password")
        return None
    # The region is the fourth part of an ARN.
    return Accounting(found[1], found[1].split(":")[3])
