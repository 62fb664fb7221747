"""Changes the password of the accounting database, in the four steps that Secrets Manager asks for."""

import json
import os
import time
from typing import Any

import boto3

LENGTH = 32
PENDING = "AWSPENDING"
CURRENT = "AWSCURRENT"
WAIT_SECONDS = 780
"""Seconds that RDS may take to apply a password; the function itself ends after 15 minutes."""
POLL_SECONDS = 10


def handler(event: dict[str, str], context: Any) -> None:
    """Do one step of a rotation; each may be repeated.

    Raises:
        RuntimeError: the database did not take the password in time, or the step is unknown.
    """
    del context
    secret, token, step = event["SecretId"], event["ClientRequestToken"], event["Step"]
    steps = {
        "createSecret": create_secret,
        "setSecret": set_secret,
        "testSecret": test_secret,
        "finishSecret": finish_secret,
    }
    if step not in steps:
        raise RuntimeError(f"rotation step '{step}' is unknown")
    steps[step](secret, token)


def create_secret(secret: str, token: str) -> None:
    """Put a new password beside the current one, unless a former attempt did."""
    manager = boto3.client("secretsmanager")
    if _version(manager, secret, token) is not None:
        return
    current = json.loads(manager.get_secret_value(SecretId=secret, VersionStage=CURRENT)["SecretString"])
    password = manager.get_random_password(PasswordLength=LENGTH, ExcludePunctuation=True)["RandomPassword"]
    manager.put_secret_value(
        SecretId=secret,
        ClientRequestToken=token,
        SecretString=json.dumps(current | {"password": password}),
        VersionStages=[PENDING],
    )


def set_secret(secret: str, token: str) -> None:
    """Give the database the new password."""
    manager = boto3.client("secretsmanager")
    pending = _version(manager, secret, token)
    if pending is None:
        raise RuntimeError(f"secret '{secret}' has no version '{token}' to set")
    boto3.client("rds").modify_db_cluster(
        DBClusterIdentifier=os.environ["CLUSTER"],
        MasterUserPassword=pending["password"],
        ApplyImmediately=True,
    )


def test_secret(secret: str, token: str) -> None:
    """Wait until RDS has applied the change. No login is tried: the function is not in the database's network."""
    del secret, token
    rds = boto3.client("rds")
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        cluster = rds.describe_db_clusters(DBClusterIdentifier=os.environ["CLUSTER"])["DBClusters"][0]
        waiting = "MasterUserPassword" in cluster.get("PendingModifiedValues", {})
        if cluster["Status"] == "available" and not waiting:
            return
        if time.monotonic() >= deadline:
            raise RuntimeError(
                f"the database did not take the password in time (status '{cluster['Status']}')"
            )
        time.sleep(POLL_SECONDS)


def finish_secret(secret: str, token: str) -> None:
    """Make the new password the current one: first in the copy that holds it alone, then in the secret itself."""
    manager = boto3.client("secretsmanager")
    pending = _version(manager, secret, token)
    if pending is None:
        raise RuntimeError(f"secret '{secret}' has no version '{token}' to finish")
    manager.put_secret_value(
        SecretId=os.environ["PASSWORD_SECRET"],
        ClientRequestToken=token,
        SecretString=pending["password"],
    )
    versions = manager.describe_secret(SecretId=secret)["VersionIdsToStages"]
    current = next((version for version, stages in versions.items() if CURRENT in stages), None)
    if current != token:
        given = {"RemoveFromVersionId": current} if current else {}
        manager.update_secret_version_stage(
            SecretId=secret, VersionStage=CURRENT, MoveToVersionId=token, **given
        )


def _version(manager: Any, secret: str, token: str) -> dict[str, str] | None:
    """Return what the secret's version `token` holds, None where there is none."""
    stages = manager.describe_secret(SecretId=secret).get("VersionIdsToStages", {}).get(token, [])
    if not stages:
        return None
    try:
        value = manager.get_secret_value(SecretId=secret, VersionId=token)
    except manager.exceptions.ResourceNotFoundException:
        # Secrets Manager announces the version before it has a value.
        return None
    found: dict[str, str] = json.loads(value["SecretString"])
    return found
