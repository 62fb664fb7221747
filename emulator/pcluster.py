"""ParallelCluster's custom resource: everything that the configuration names must exist, and nodes are started.

A cluster is a stack of its own in AWS; here it is its instances, tagged as ParallelCluster tags them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from emulator.resources.resource import Kind, Properties, Resource

_CLUSTER_TAG = "parallelcluster:cluster-name"
_NODE_TAG = "parallelcluster:node-type"
_FIXED = (
    ("Image", "Os"),
    ("Image", "CustomAmi"),
    ("Iam", "ResourcePrefix"),
    ("HeadNode", "InstanceType"),
    ("HeadNode", "Networking", "SubnetId"),
    ("HeadNode", "LocalStorage"),
    ("HeadNode", "Ssh", "KeyName"),
    ("HeadNode", "Imds"),
    ("HeadNode", "CustomActions", "OnNodeStart"),
    ("HeadNode", "CustomActions", "OnNodeConfigured"),
    ("Scheduling", "SlurmSettings", "Dns"),
)
"""Settings that no update changes. Source: aws-parallelcluster 3.16.1, schemas/cluster_schema.py, UNSUPPORTED."""


class PclusterCluster(Resource):
    """Custom::PclusterCluster. Ref is the cluster's name."""

    kind = Kind.ANSWERED

    def create(self) -> None:
        """Check what the configuration refers to, and start the nodes that always run."""
        name = self.properties["ClusterName"]
        if name == self.context.stack_name:
            self.fail(f"the cluster's stack '{name}' exists already")
        self._check()
        self.physical_id = name
        self._start(self._configuration)
        self._describe()

    def update(self, previous: Properties) -> None:
        """Do what ParallelCluster does to a running cluster; what it refuses fails the update."""
        if self.properties["ClusterName"] != self.physical_id:
            self.fail("Cannot update the ClusterName in the properties.")
        before = previous["ClusterConfiguration"]
        refused = [".".join(path) for path in _FIXED if _at(before, path) != _at(self._configuration, path)]
        if refused:
            self.fail(f"Update failure: {', '.join(refused)} cannot be updated")
        self._check()
        self._end(except_head=True)
        self._start(self._configuration, head=False)
        self._describe()

    def delete(self) -> None:
        """End every node, unless the properties say that the cluster stays."""
        if self.properties.get("DeletionPolicy", "Delete") == "Delete":
            self._end()

    @property
    def _configuration(self) -> dict[str, Any]:
        configuration: dict[str, Any] = self.properties["ClusterConfiguration"]
        return configuration

    def _check(self) -> None:
        configuration = self._configuration
        ec2, fsx, iam, s3 = (self.aws(service) for service in ("ec2", "fsx", "iam", "s3"))
        for networking in _all(configuration, "Networking"):
            subnets = [networking["SubnetId"]] if "SubnetId" in networking else networking.get("SubnetIds")
            if subnets:
                ec2.describe_subnets(SubnetIds=subnets)
            ec2.describe_security_groups(GroupIds=networking.get("SecurityGroups", []))
        for storage in configuration.get("SharedStorage", []):
            if "FsxLustreSettings" in storage:
                identifier = storage["FsxLustreSettings"]["FileSystemId"]
                # moto says nothing of an id that it does not have.
                if not fsx.describe_file_systems(FileSystemIds=[identifier])["FileSystems"]:
                    self.fail(f"File system '{identifier}' does not exist.")
            else:
                fsx.describe_volumes(VolumeIds=[storage["FsxOpenZfsSettings"]["VolumeId"]])
        for policies in _all(configuration, "AdditionalIamPolicies"):
            for policy in policies:
                self._check_policy(iam, policy["Policy"])
        for script in _all(configuration, "Script"):
            bucket, _, key = script.removeprefix("s3://").partition("/")
            s3.head_object(Bucket=bucket, Key=key)
        for secret in _all(configuration, "PasswordSecretArn"):
            self.aws("secretsmanager").describe_secret(SecretId=secret)
        for image in _all(configuration, "CustomAmi"):
            ec2.describe_images(ImageIds=[image])

    def _check_policy(self, iam: Any, arn: str) -> None:
        iam.get_policy(PolicyArn=arn)
        name = arn.partition(":policy/")[2]
        # The provider's own role attaches no others (policies/parallelcluster-policies.yaml).
        if not name.startswith("parallelcluster"):
            self.fail(f"AccessDenied: the provider may not attach the policy '{name}'")

    def _start(self, configuration: dict[str, Any], *, head: bool = True) -> None:
        for number, kind, node, networking, tags, own_image in _nodes(configuration):
            if kind == "HeadNode" and not head:
                continue
            given = {
                **{tag["Key"]: tag["Value"] for tag in configuration.get("Tags", [])},
                "Name": kind,
                _CLUSTER_TAG: self.physical_id,
                _NODE_TAG: kind,
                "parallelcluster:attributes": f"{configuration['Image']['Os']}, slurm, , x86_64",
                **tags,
            }
            self.aws("ec2").run_instances(
                ImageId=own_image or self._official_image(),
                InstanceType=node["InstanceType"],
                MinCount=number,
                MaxCount=number,
                NetworkInterfaces=[
                    {
                        "DeviceIndex": 0,
                        "SubnetId": networking.get("SubnetId") or networking["SubnetIds"][0],
                        "Groups": networking["SecurityGroups"],
                        "DeleteOnTermination": True,
                    }
                ],
                TagSpecifications=[
                    {
                        "ResourceType": "instance",
                        "Tags": [{"Key": key, "Value": value} for key, value in given.items()],
                    }
                ],
            )

    def _official_image(self) -> str:
        return str(self.aws("ec2").describe_images()["Images"][0]["ImageId"])

    def _instances(self) -> list[dict[str, Any]]:
        filters = [
            {"Name": f"tag:{_CLUSTER_TAG}", "Values": [self.physical_id]},
            {"Name": "instance-state-name", "Values": ["pending", "running"]},
        ]
        found = self.aws("ec2").describe_instances(Filters=filters)["Reservations"]
        return [instance for reservation in found for instance in reservation["Instances"]]

    def _end(self, *, except_head: bool = False) -> None:
        ids = [
            instance["InstanceId"]
            for instance in self._instances()
            if not (except_head and _kind(instance) == "HeadNode")
        ]
        if ids:
            self.aws("ec2").terminate_instances(InstanceIds=ids)

    def _describe(self) -> None:
        [head] = [instance for instance in self._instances() if _kind(instance) == "HeadNode"]
        self.attributes = {
            "clusterName": self.physical_id,
            "clusterStatus": "CREATE_COMPLETE",
            "headNode.instanceId": head["InstanceId"],
            "headNode.instanceType": head["InstanceType"],
            "headNode.privateIpAddress": head["PrivateIpAddress"],
            "validationMessages": "[]",
        }


_Standing = tuple[int, str, dict[str, Any], dict[str, Any], dict[str, str], str]
"""Nodes of one group: number, kind, description, network, further tags, and the id of an image of the user's own."""


def _nodes(configuration: dict[str, Any]) -> Iterator[_Standing]:
    """Yield the nodes that always run."""
    head, image = configuration["HeadNode"], configuration["Image"].get("CustomAmi", "")
    yield 1, "HeadNode", head, head["Networking"], {}, image
    for pool in configuration.get("LoginNodes", {}).get("Pools", []):
        # Both, from the launch template and from the group (templates/login_nodes_stack.py).
        tags = {"parallelcluster:login-nodes-pool-name": pool["Name"]}
        tags["parallelcluster:login-nodes-pool"] = pool["Name"]
        yield int(pool["Count"]), "LoginNode", pool, pool["Networking"], tags, image
    for queue in configuration["Scheduling"]["SlurmQueues"]:
        own = queue.get("Image", {}).get("CustomAmi") or image
        for node in queue["ComputeResources"]:
            tags = {"parallelcluster:queue-name": queue["Name"]}
            tags["parallelcluster:compute-resource-name"] = node["Name"]
            if int(node["MinCount"]):
                yield int(node["MinCount"]), "Compute", node, queue["Networking"], tags, own


def _kind(instance: dict[str, Any]) -> str:
    return next(str(tag["Value"]) for tag in instance["Tags"] if tag["Key"] == _NODE_TAG)


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _all(value: Any, name: str) -> Iterator[Any]:
    """Yield every value of a key, however deep."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == name:
                yield item
            yield from _all(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from _all(item, name)
