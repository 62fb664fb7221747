"""The token review of EKS: it returns the user of a token of `aws eks get-token`.

Such a token is a request to STS for the caller's identity, signed in advance, with the cluster's name among what is
signed (kubernetes-sigs/aws-iam-authenticator, "API Authorization from Outside a Cluster"). The access entries of the
cluster say whether the caller is known to it, under which name and in which groups.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hmac
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from emulator.environment import ACCOUNT

PATH = "/_emulator/token-review/"
"""The path before the ARN of the cluster."""

_PREFIX = "k8s-aws-v1."
_HEADER = "x-k8s-aws-id"
_LIFETIME = dt.timedelta(minutes=15)
"""Lifetime of a token, whatever time its request states (aws-iam-authenticator, pkg/token)."""

_ASSUMED_ROLE = re.compile(r"arn:(?P<partition>[\w-]+):sts::(?P<account>\d+):assumed-role/(?P<role>[^/]+)/.+")


class Refused(Exception):
    """A token that is not good for this cluster; the text says why."""


def review(cluster_arn: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a TokenReview for a cluster."""
    try:
        status = {
            "authenticated": True,
            "user": user(cluster_arn, str(document.get("spec", {}).get("token", ""))),
        }
    except Refused as error:
        status = {"authenticated": False, "error": str(error)}
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status}


def user(cluster_arn: str, token: str) -> dict[str, Any]:
    """Return the Kubernetes user of a token.

    Raises:
        Refused: the token is not good here, or its caller has no access entry.
    """
    from moto.eks.models import eks_backends

    _, _, _, region, account, name = cluster_arn.split(":", 5)
    cluster: Any = eks_backends[account][region].clusters.get(name.removeprefix("cluster/"))
    if cluster is None:
        raise Refused(f"there is no cluster '{cluster_arn}'")
    arn = caller(token, cluster.name)
    held = cluster.access_entries.get(principal(arn))
    if held is None:
        raise Refused(f"'{principal(arn)}' has no access entry in the cluster '{cluster.name}'")
    entry = held["entry"]
    return {
        "username": arn if entry["username"] == entry["principalArn"] else entry["username"],
        "uid": arn,
        "groups": [*entry["kubernetesGroups"], group_of(entry["principalArn"])],
    }


def group_of(principal_arn: str) -> str:
    """Return the group that holds the rights of an access entry's policies.

    EKS has an authorizer of its own for them; roles and bindings of Kubernetes take its place here.
    """
    return f"emulator:access-entry:{principal_arn}"


def principal(caller_arn: str) -> str:
    """Return whose access entry a caller has: of a role's session, the role."""
    session = _ASSUMED_ROLE.fullmatch(caller_arn)
    return (
        "arn:{partition}:iam::{account}:role/{role}".format(**session.groupdict()) if session else caller_arn
    )


def caller(token: str, cluster: str) -> str:
    """Return the ARN of who made a token for a cluster.

    Raises:
        Refused: it is no such token, too old, or signed otherwise.
    """
    if not token.startswith(_PREFIX):
        raise Refused(f"the token does not begin with '{_PREFIX}'")
    text = token.removeprefix(_PREFIX)
    try:
        url = urlsplit(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True).decode())
    except (binascii.Error, UnicodeDecodeError):
        raise Refused("the token is no address in base64") from None
    given = {name: values[0] for name, values in parse_qs(url.query).items()}
    if given.get("Action") != "GetCallerIdentity":
        raise Refused("the token asks STS for something else than the caller's identity")
    try:
        made = dt.datetime.strptime(given["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
        key, _, region, service, _ = given["X-Amz-Credential"].split("/")
        signed, signature = given["X-Amz-SignedHeaders"].split(";"), given["X-Amz-Signature"]
    except (KeyError, ValueError):
        raise Refused("the token is no request that was signed in advance") from None
    if _HEADER not in signed or service != "sts":
        raise Refused(f"the token's signature does not cover the header {_HEADER}")
    if made + _LIFETIME < dt.datetime.now(dt.UTC):
        raise Refused("the token has expired")
    secret, arn = _held(key, region)
    unsigned = {name: value for name, value in given.items() if name != "X-Amz-Signature"}
    request = AWSRequest("GET", urlunsplit(url._replace(query=urlencode(unsigned))), {_HEADER: cluster})
    request.context["timestamp"] = given["X-Amz-Date"]
    signer = SigV4QueryAuth(Credentials(key, secret), service, region)
    expected = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    if not hmac.compare_digest(expected, signature):
        raise Refused(f"the token is not signed by '{arn}' for the cluster '{cluster}'")
    return arn


def _held(key: str, region: str) -> tuple[str, str]:
    """Return the secret of an access key, and whose it is.

    Raises:
        Refused: the key does not exist.
    """
    from moto.iam.models import iam_backends
    from moto.sts.models import sts_backends

    for partitions in list(sts_backends.values()):
        for backend in list(partitions.values()):
            role = backend.get_assumed_role_from_access_key(key)
            if role is not None:
                return role.secret_access_key, role.arn
    for of_account in list(iam_backends.values()):
        for iam in list(of_account.values()):
            user = iam.get_user_from_access_key_id(key)
            if user is not None:
                secret = next(one.secret_access_key for one in user.access_keys if one.access_key_id == key)
                return secret, user.arn
    if key == os.environ["AWS_ACCESS_KEY_ID"]:
        # Nobody's key: the emulator takes it for that of moto's own user.
        return os.environ["AWS_SECRET_ACCESS_KEY"], sts_backends[ACCOUNT]["aws"].get_caller_identity(
            key, region
        )[1]
    raise Refused(f"the access key '{key}' does not exist")
