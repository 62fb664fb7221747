"""Aurora: cluster, instances, parameter group and subnet group."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from emulator.resources.request import call
from emulator.resources.resource import Properties, Resource, resource


class RdsResource(Resource):
    """A resource of RDS. Identifiers are in lower case there."""

    def _call(self, method: str, **given: Any) -> Any:
        return call(self.aws("rds"), method, given)

    def apply_tags(self) -> None:
        """Make the tags those of the template and the stack, and no others."""
        rds, arn = self.aws("rds"), self._arn
        new_tags = self.tags()
        held = {tag["Key"] for tag in rds.list_tags_for_resource(ResourceName=arn)["TagList"]}
        stale = sorted(held - {tag["Key"] for tag in new_tags})
        if stale:
            rds.remove_tags_from_resource(ResourceName=arn, TagKeys=stale)
        if new_tags:
            rds.add_tags_to_resource(ResourceName=arn, Tags=new_tags)

    @property
    @abstractmethod
    def _arn(self) -> str:
        """The ARN that its tags hang on."""


@resource("AWS::RDS::DBSubnetGroup")
class SubnetGroup(RdsResource):
    """Subnets of a database."""

    def create(self) -> None:
        """Create it."""
        name = self.properties.get("DBSubnetGroupName") or self.generated_name(255, lower=True)
        given = self.only("DBSubnetGroupDescription", "SubnetIds")
        self._call("create_db_subnet_group", DBSubnetGroupName=name, **given, **self.tag_argument())
        self.physical_id = name
        self.attributes = {"DBSubnetGroupArn": self._arn}

    @property
    def _arn(self) -> str:
        return self.arn("rds", f"subgrp:{self.physical_id}")

    def delete(self) -> None:
        """Delete it."""
        self.aws("rds").delete_db_subnet_group(DBSubnetGroupName=self.physical_id)


@resource("AWS::RDS::DBClusterParameterGroup")
class ClusterParameterGroup(RdsResource):
    """Parameters of a cluster. moto keeps the group and knows no parameters of one: the ledger shows them."""

    def create(self) -> None:
        """Create it."""
        name = self.properties.get("DBClusterParameterGroupName") or self.generated_name(255, lower=True)
        self.aws("rds").create_db_cluster_parameter_group(
            DBClusterParameterGroupName=name,
            DBParameterGroupFamily=self.properties["Family"],
            Description=self.properties["Description"],
        )
        self.physical_id = name

    def update(self, previous: Properties) -> None:
        """Take the new parameters."""
        if set(self.changed(previous)) - {"Parameters", "Tags"}:
            super().update(previous)

    @property
    def _arn(self) -> str:
        return self.arn("rds", f"cluster-pg:{self.physical_id}")

    def delete(self) -> None:
        """Delete it."""
        self.aws("rds").delete_db_cluster_parameter_group(DBClusterParameterGroupName=self.physical_id)


@resource("AWS::RDS::DBCluster")
class Cluster(RdsResource):
    """An Aurora cluster. It is deleted without a final snapshot, as CloudFormation does under DeletionPolicy Delete."""

    _CREATED = (
        "BackupRetentionPeriod",
        "CopyTagsToSnapshot",
        "DBClusterParameterGroupName",
        "DBSubnetGroupName",
        "DeletionProtection",
        "Engine",
        "EngineVersion",
        "MasterUserPassword",
        "MasterUsername",
        "Port",
        "ServerlessV2ScalingConfiguration",
        "StorageEncrypted",
        "VpcSecurityGroupIds",
    )
    _MODIFIED = (
        "BackupRetentionPeriod",
        "CopyTagsToSnapshot",
        "DBClusterParameterGroupName",
        "DeletionProtection",
        "EngineVersion",
        "MasterUserPassword",
        "ServerlessV2ScalingConfiguration",
        "VpcSecurityGroupIds",
    )

    def create(self) -> None:
        """Create it."""
        name = self.properties.get("DBClusterIdentifier") or self.generated_name(63, lower=True)
        given = self.only(*self._CREATED)
        self._call("create_db_cluster", DBClusterIdentifier=name, **given, **self.tag_argument())
        self.physical_id = name
        self._read()

    def _read(self) -> None:
        cluster = self.aws("rds").describe_db_clusters(DBClusterIdentifier=self.physical_id)["DBClusters"][0]
        self.attributes = {
            "DBClusterArn": cluster["DBClusterArn"],
            "DBClusterResourceId": cluster["DbClusterResourceId"],
            "Endpoint.Address": cluster["Endpoint"],
            "Endpoint.Port": str(cluster["Port"]),
            "ReadEndpoint.Address": cluster["ReaderEndpoint"],
        }

    def update(self, previous: Properties) -> None:
        """Modify it at once."""
        changed = set(self.changed(previous))
        if changed - {*self._MODIFIED, "Tags"}:
            super().update(previous)
        given = self.only(*sorted(changed & set(self._MODIFIED)))
        if given:
            self._call(
                "modify_db_cluster", DBClusterIdentifier=self.physical_id, ApplyImmediately=True, **given
            )
        self.apply_tags()
        self._read()

    @property
    def _arn(self) -> str:
        return self.arn("rds", f"cluster:{self.physical_id}")

    def delete(self) -> None:
        """Delete it; RDS refuses while it is protected."""
        self.aws("rds").delete_db_cluster(DBClusterIdentifier=self.physical_id, SkipFinalSnapshot=True)


@resource("AWS::RDS::DBInstance")
class Instance(RdsResource):
    """An instance of a cluster."""

    def create(self) -> None:
        """Create it."""
        name = self.properties.get("DBInstanceIdentifier") or self.generated_name(63, lower=True)
        given = self.only(
            "DBClusterIdentifier", "DBInstanceClass", "Engine", "PromotionTier", "PubliclyAccessible"
        )
        self._call("create_db_instance", DBInstanceIdentifier=name, **given, **self.tag_argument())
        self.physical_id = name
        self.attributes = {"DBInstanceArn": self._arn}

    @property
    def _arn(self) -> str:
        return self.arn("rds", f"db:{self.physical_id}")

    def delete(self) -> None:
        """Delete it."""
        self.aws("rds").delete_db_instance(DBInstanceIdentifier=self.physical_id, SkipFinalSnapshot=True)
