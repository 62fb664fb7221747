"""Shared services of a ParallelCluster: an accounting database and a directory of users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CA_CERTIFICATE_PATH = "/opt/trainforge/directory-ca.pem"
"""Path on nodes of the directory's CA certificate; a custom action puts it there at start."""


@dataclass(frozen=True, slots=True)
class AccountingDatabase:
    """A MySQL-compatible database for slurmdbd on the head node (SlurmSettings.Database).

    `uri` is `host:port`. `password_secret_arn` is a Secrets Manager secret that holds the password alone, as
    ParallelCluster demands, no JSON around it. `client_security_group_id` is attached to the head node and admits
    it to the database; empty where the head node's own groups do. `name` is the schema, by default the cluster's
    name.
    """

    uri: str
    user_name: str
    password_secret_arn: str
    client_security_group_id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory of users over LDAP with TLS (DirectoryService).

    `domain_name` is the LDAP suffix (`dc=demo,dc=internal`) or a domain's name, `addresses` are URIs
    (`ldaps://ldap.demo.internal`), `read_only_user` is the distinguished name that nodes bind as, and
    `password_secret_arn` a Secrets Manager secret that holds its password alone. `ca_certificate_source` is the
    `s3://` URL from which nodes fetch the certificate of the authority at start, into `CA_CERTIFICATE_PATH`; empty
    where the operating system trusts it already. `client_security_group_id` is attached to every node and admits it
    to the directory; empty where the nodes' own group does. `access_filter` is an LDAP filter of who may log in,
    `additional_sssd` are options of the domain section of sssd.conf.
    """

    domain_name: str
    addresses: tuple[str, ...]
    read_only_user: str
    password_secret_arn: str
    ca_certificate_source: str = ""
    client_security_group_id: str = ""
    access_filter: str = ""
    additional_sssd: Mapping[str, str] = field(default_factory=dict)
