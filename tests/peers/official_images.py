"""Official ParallelCluster images as entries of the emulator: their names, which the CLI looks them up by.

The name's form as the CLI's `get_official_image_id` builds it (aws-parallelcluster 3.16.1, pcluster/aws/ec2.py);
ids and dates are made up.
"""

from __future__ import annotations

import json
from pathlib import Path

from catalog.versions import PARALLELCLUSTER

_SYSTEMS = {
    "ubuntu-2204-lts-hvm": "/dev/sda1",
    "ubuntu-2404-lts-hvm": "/dev/sda1",
    "amzn2023-hvm": "/dev/xvda",
}
_ARCHITECTURES = ("x86_64", "arm64")


def write_images(path: Path) -> Path:
    """Write the file that MOTO_AMIS_PATH names, and return its path."""
    images = [
        {
            "ami_id": f"ami-{number:017x}",
            "name": f"aws-parallelcluster-{PARALLELCLUSTER}-{system}-{architecture}-202601010000",
            # Two words of the real one's, by which a validator knows an official image.
            "description": "AWS ParallelCluster AMI, as this test has it",
            "architecture": architecture,
            "owner_id": "247102896272",
            "owner_alias": "amazon",
            "public": True,
            "root_device_name": device,
            "root_device_type": "ebs",
            "virtualization_type": "hvm",
            "hypervisor": "xen",
        }
        for number, (system, device, architecture) in enumerate(
            (system, device, architecture)
            for system, device in _SYSTEMS.items()
            for architecture in _ARCHITECTURES
        )
    ]
    path.write_text(json.dumps(images), encoding="utf-8")
    return path
