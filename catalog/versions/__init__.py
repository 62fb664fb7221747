"""The lock of the software stack: every pinned version with its source, and the versions that work together.

To take a version, import its pin from here: `from catalog.versions import NVIDIA_DRIVER`. A pin is a `str`, the version
itself, with `name` and `source`. Dockerfiles, playbooks, charts and manifests have no version of their own: they get it
as an argument, or by a file that is generated from pins and that `trainforge render --check` compares.

A new pin belongs into the module of its subject: `stack` (what COMBINATIONS are about), `workloads` (images and
packages of workloads), `nodes` (programs on nodes, machine images), `kubernetes` (charts, operators and images),
`add_ons` (EKS add-ons), `application` (the application itself). A pin says where its version was read. A digest of a
download is a constant beside the pin, by machine where it differs (`NODE_EXPORTER_SHA256`); one that no source states
is left out, never invented. Parts of the stack change together, to another row of `COMBINATIONS`: a test refuses any
other mixture.
"""

from __future__ import annotations

from catalog.versions.add_ons import *  # noqa: F403
from catalog.versions.add_ons import ADD_ONS as _ADD_ONS
from catalog.versions.application import *  # noqa: F403
from catalog.versions.combinations import *  # noqa: F403
from catalog.versions.kubernetes import *  # noqa: F403
from catalog.versions.nodes import *  # noqa: F403
from catalog.versions.pin import *  # noqa: F403
from catalog.versions.pin import Pin as _Pin
from catalog.versions.stack import *  # noqa: F403
from catalog.versions.workloads import *  # noqa: F403

PINS: tuple[_Pin, ...] = (
    *(value for value in dict(globals()).values() if isinstance(value, _Pin)),
    *(pin for pins in _ADD_ONS.values() for pin in pins.values()),
)
"""All pins, by module; those of EKS add-ons last."""
