"""The directory stack."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_s3 as s3
from constructs import Construct

from settings.deployment import Settings
from stacks.network import NetworkStack
from stacks.storage import StorageStack
from trainforge.directory.server import DirectoryMachine, DirectoryServer
from trainforge.parallelcluster.services import Directory


class DirectoryStack(cdk.Stack):
    """The directory server with the users of every cluster."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        network: NetworkStack,
        storage: StorageStack,
        env: cdk.Environment,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            env=env,
            stack_name=f"{settings.name}-directory",
            description=f"trainforge {settings.name}: directory of people and groups",
        )
        assert settings.directory
        section = settings.directory
        openzfs = settings.storage.openzfs
        self._homes = openzfs.mount_path.rstrip("/") if openzfs else "/home"
        durable = settings.retention == "durable"
        # Made by the storage stack; by name, as whoever reads it later knows it.
        bucket = s3.Bucket.from_bucket_name(self, "ScriptsBucket", storage.scripts_bucket_name)
        self.server = DirectoryServer(
            self,
            "Server",
            vpc=network.vpc,
            subnet=network.private_subnet(section.availability_zone or settings.availability_zones[0]),
            clients=network.efa_security_group,
            bucket=bucket,
            domain=settings.directory_domain,
            content={
                "organization": settings.name,
                **section.model_dump(mode="json", include={"users", "groups"}),
            },
            machine=DirectoryMachine(
                instance_type=section.instance_type,
                volume_gib=section.volume_gib,
                existing_volume_id=section.existing_volume_id,
            ),
            certificate_secret_arn=section.certificate_secret_arn,
            removal_policy=cdk.RemovalPolicy.RETAIN if durable else cdk.RemovalPolicy.DESTROY,
        )
        self.add_stack_dependency(storage)
        server = self.server
        for output_id, value, description in (
            ("DirectoryUri", server.uri, "Where nodes ask the directory"),
            ("DirectorySuffix", server.suffix, "Suffix of every entry"),
            ("DirectoryReader", server.reader, "Name that nodes log in by"),
            ("ReaderSecretArn", server.reader_secret.secret_arn, "Secret with its password"),
            (
                "AuthoritySource",
                server.authority_source,
                "Certificate of the authority that signed the server's",
            ),
            ("VolumeId", server.volume_id, "Volume with the directory's data"),
            ("ServerGroup", server.group.ref, "Auto scaling group of the server"),
        ):
            cdk.CfnOutput(self, output_id, value=value, description=description)

    def for_nodes(self) -> dict[str, str]:
        """Return the directory's section of HyperPod's node set-up."""
        server = self.server
        return {
            "uri": server.uri,
            "suffix": server.suffix,
            "reader": server.reader,
            "password_secret": server.reader_secret.secret_arn,
            "authority": server.authority_source,
            "region": self.region,
        }

    def for_parallelcluster(self) -> Directory:
        """Return the directory's section of a ParallelCluster."""
        server = self.server
        return Directory(
            domain_name=server.suffix,
            addresses=(server.uri,),
            read_only_user=server.reader,
            password_secret_arn=server.reader_secret.secret_arn,
            ca_certificate_source=server.authority_source,
            additional_sssd={
                "ldap_schema": "rfc2307",
                # ParallelCluster's own choice makes ids out of Active Directory's, and finds no user here
                # (aws-parallelcluster-cookbook, recipes/config/directory_service.rb).
                "ldap_id_mapping": "false",
                "ldap_user_ssh_public_key": "sshPublicKey",
                "override_homedir": f"{self._homes}/%u",
                # The whole list on every node is slow, and nobody asks for it.
                "enumerate": "false",
                # New members of the group of all people get homes: SSSD keeps groups for 90 minutes by default.
                "entry_cache_group_timeout": "300",
            },
        )
