"""Packer templates of the machine images, in Packer's JSON form: one per image, written from the catalog.

The build needs no open port: SSH goes through a Session Manager session, for which the instance has a profile and the
parent image the agent. Packer's reference: "JSON Configuration Syntax", and "amazon-ebs" of the plugin amazon.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from catalog.machine_images import GIVEN_PARENTS, MACHINE_IMAGES, MachineImage, ParentImage
from catalog.versions import PACKER_AMAZON, PACKER_ANSIBLE

FOLDER = Path(__file__).parent / "packer"
"""The folder of the committed templates."""

_PLUGINS = "github.com/hashicorp"
# `packer build` runs in the root of the repository (make machine-image).
_PLAYBOOKS = "${path.root}/.."
# Packer's own session forwards its port to one connection alone. Ansible opens another session, by the AWS CLI (the
# plugin ansible's documentation, "Amazon Session Manager"); packer puts in what is between two braces.
_SESSION = (
    "aws ssm start-session --region ${var.region} --target %h --document-name AWS-StartSSHSession "
    "--parameters portNumber=%p"
)
_INVENTORY = (
    "{{ .HostAlias }} ansible_host={{ .ID }} ansible_user={{ .User }} "
    f"""ansible_ssh_common_args='-o StrictHostKeyChecking=no -o ProxyCommand="{_SESSION}"'\n"""
)


def path(image: MachineImage) -> Path:
    """Return the file of an image's template."""
    return FOLDER / f"{image.name}.pkr.json"


def template(image: MachineImage) -> dict[str, Any]:
    """Return the template of an image: one source per operating system, and the playbook of the same name."""
    parents = image.parents or GIVEN_PARENTS
    return {
        "//": "Written by 'make machine-images' from catalog/machine_images.py. Do not edit.",
        "packer": {
            "required_plugins": {
                "amazon": {"source": f"{_PLUGINS}/amazon", "version": f"= {PACKER_AMAZON}"},
                "ansible": {"source": f"{_PLUGINS}/ansible", "version": f"= {PACKER_ANSIBLE}"},
            }
        },
        "variable": _variables(image),
        "source": {"amazon-ebs": {name: _source(image, name, parent) for name, parent in parents.items()}},
        "build": {
            "name": image.name,
            "sources": [f"source.amazon-ebs.{name}" for name in parents],
            "provisioner": [
                {
                    "ansible": {
                        "playbook_file": f"{_PLAYBOOKS}/{image.name}.yml",
                        "ansible_env_vars": [f"ANSIBLE_CONFIG={_PLAYBOOKS}/ansible.cfg"],
                        # Without the plugin's own proxy, because packages restart the machine during a play.
                        "use_proxy": False,
                        "inventory_file_template": _INVENTORY,
                    }
                }
            ],
            "post-processor": [
                {"manifest": {"output": f"build/machine-images/{image.name}.json", "strip_path": True}}
            ],
        },
    }


def text(image: MachineImage) -> str:
    """Return the content of an image's committed template."""
    return json.dumps(template(image), indent=2) + "\n"


def texts() -> dict[Path, str]:
    """Return the content of every committed template by its file."""
    return {path(image): text(image) for image in MACHINE_IMAGES}


def _variables(image: MachineImage) -> dict[str, Any]:
    variables: dict[str, Any] = {
        "region": {"type": "string", "description": "the region that the image is built in"},
        "subnet_id": {
            "type": "string",
            "description": "a private subnet with a way to the internet, for the vendors' downloads",
        },
        "iam_instance_profile": {
            "type": "string",
            "description": "a profile with the policy AmazonSSMManagedInstanceCore: SSH goes through Session Manager",
        },
        "instance_type": {"type": "string", "default": image.instance_type},
    }
    if image.encrypted:
        variables["kms_key_id"] = {
            "type": "string",
            "default": "",
            "description": "the key that encrypts the image; empty: the account's default key of EBS",
        }
    if not image.parents:
        variables["source_ami"] = {
            "type": "string",
            "description": "the id of the image to build on, of the system that -only names",
        }
    return variables


def _source(image: MachineImage, system: str, parent: ParentImage) -> dict[str, Any]:
    name = f"{image.name}-{system}"
    source: dict[str, Any] = {
        "ami_name": f'trainforge-{name}-${{formatdate("YYYYMMDDhhmmss", timestamp())}}',
        "ami_description": f"trainforge: {image.title}",
        "region": "${var.region}",
        "subnet_id": "${var.subnet_id}",
        "iam_instance_profile": "${var.iam_instance_profile}",
        "instance_type": "${var.instance_type}",
        # No inbound rule of a security group is used.
        "ssh_interface": "session_manager",
        "ssh_username": parent.user,
        "communicator": "ssh",
        # The build's own key alone, which its last role removes for root and this for the user.
        "ssh_clear_authorized_keys": True,
        "metadata_options": {
            "http_endpoint": "enabled",
            "http_tokens": "required",
            "http_put_response_hop_limit": 1,
        },
        "imds_support": "v2.0",
        "encrypt_boot": image.encrypted,
        "launch_block_device_mappings": [
            {
                "device_name": parent.root_device,
                "volume_size": image.volume_gib,
                "volume_type": "gp3",
                "delete_on_termination": True,
            }
        ],
        "tags": {"trainforge:image": name, "trainforge:parent": "{{ .SourceAMI }}"},
        "run_tags": {"Name": f"trainforge-{name}-build"},
    }
    if image.encrypted:
        source["kms_key_id"] = "${var.kms_key_id}"
    if image.parents:
        filters = {
            "name": parent.name,
            "architecture": "x86_64",
            "root-device-type": "ebs",
            "virtualization-type": "hvm",
        }
        source["source_ami_filter"] = {"filters": filters, "owners": [parent.owner], "most_recent": True}
    else:
        source["source_ami"] = "${var.source_ami}"
    return source
