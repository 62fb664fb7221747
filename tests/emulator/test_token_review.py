"""The token review of an EKS cluster: access entries, and tokens that are refused."""

from __future__ import annotations

import base64
import datetime as dt
import json
import subprocess
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import botocore.auth
import botocore.session
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from emulator.server import Emulator
from emulator.token_review import PATH
from tests.emulator.formation import Formation
from tests.programs import require_program

ROLE = "arn:aws:iam::111122223333:role/researchers"
SESSION = "arn:aws:sts::111122223333:assumed-role/researchers/ana"
GROUP = "trainforge-job-editors"


@pytest.fixture
def cluster(formation: Formation) -> Iterator[dict[str, Any]]:
    """Make an EKS cluster outside any stack, to which a role has access."""
    name = f"review-{uuid.uuid4().hex[:12]}"
    eks = formation.emulator.client("eks")
    subnets = formation.emulator.client("ec2").describe_subnets(
        Filters=[{"Name": "default-for-az", "Values": ["true"]}]
    )["Subnets"]
    made = eks.create_cluster(
        name=name,
        roleArn="arn:aws:iam::123456789012:role/cluster",
        resourcesVpcConfig={"subnetIds": [subnet["SubnetId"] for subnet in subnets[:2]]},
    )["cluster"]
    eks.create_access_entry(clusterName=name, principalArn=ROLE, kubernetesGroups=[GROUP])
    yield made
    eks.delete_cluster(name=name)


def session(emulator: Emulator) -> Credentials:
    given = emulator.client("sts").assume_role(RoleArn=ROLE, RoleSessionName="ana")["Credentials"]
    return Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])


def token(
    emulator: Emulator,
    credentials: Credentials,
    cluster: str,
    *,
    header: str = "x-k8s-aws-id",
    action: str = "GetCallerIdentity",
) -> str:
    """Return a token as `aws eks get-token` makes it, or one that is wrong in one thing."""
    url = f"{emulator.endpoint}/?Action={action}&Version=2011-06-15"
    request = AWSRequest("GET", url, {header: cluster})
    botocore.auth.SigV4QueryAuth(credentials, "sts", emulator.region, expires=60).add_auth(request)
    return encoded(str(request.url))


def encoded(text: str) -> str:
    return "k8s-aws-v1." + base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def review(emulator: Emulator, cluster: dict[str, Any], given: str) -> dict[str, Any]:
    document = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": given}}
    request = urllib.request.Request(
        f"{emulator.endpoint}{PATH}{cluster['arn']}", json.dumps(document).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        told = json.load(answer)
    assert (told["apiVersion"], told["kind"]) == ("authentication.k8s.io/v1", "TokenReview")
    status: dict[str, Any] = told["status"]
    return status


def test_a_session_of_a_role_with_an_entry_is_its_user_in_its_groups(
    emulator: Emulator, cluster: dict[str, Any]
) -> None:
    status = review(emulator, cluster, token(emulator, session(emulator), cluster["name"]))
    assert status["authenticated"] is True
    assert status["user"]["username"] == SESSION
    assert GROUP in status["user"]["groups"]


def test_the_aws_cli_makes_such_a_token(emulator: Emulator, cluster: dict[str, Any]) -> None:
    aws = require_program("aws", "requirements-dev.txt brings it")
    words = ["eks", "get-token", "--cluster-name", cluster["name"], "--role-arn", ROLE, "--output", "json"]
    done = subprocess.run(
        [aws, *words], env=emulator.environment(), capture_output=True, text=True, check=True
    )
    status = review(emulator, cluster, json.loads(done.stdout)["status"]["token"])
    assert status["user"]["username"] == SESSION.replace("ana", "EKSGetTokenAuth")


def test_a_caller_without_an_entry_is_refused(emulator: Emulator, cluster: dict[str, Any]) -> None:
    status = review(emulator, cluster, token(emulator, Credentials("emulator", "emulator"), cluster["name"]))
    assert status["authenticated"] is False
    assert "user/moto' has no access entry in the cluster" in status["error"]


def test_a_principal_without_its_entry_is_refused(emulator: Emulator, cluster: dict[str, Any]) -> None:
    given = token(emulator, session(emulator), cluster["name"])
    emulator.client("eks").delete_access_entry(clusterName=cluster["name"], principalArn=ROLE)
    assert "has no access entry" in review(emulator, cluster, given)["error"]


def test_an_expired_token_is_refused(
    emulator: Emulator, cluster: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = session(emulator)
    for minutes, authenticated in ((14, True), (16, False)):
        then = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=minutes)
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda then=then: then)
        status = review(emulator, cluster, token(emulator, credentials, cluster["name"]))
        assert status["authenticated"] is authenticated
    assert status["error"] == "the token has expired"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda e, c, n: token(e, c, "another"), "is not signed by"),
        (lambda e, c, n: token(e, Credentials(c.access_key, "guessed", c.token), n), "is not signed by"),
        (
            lambda e, c, n: token(e, Credentials("AKIAUNKNOWN", "guessed"), n),
            "the access key 'AKIAUNKNOWN' does not exist",
        ),
        (lambda e, c, n: token(e, c, n, header="x-other"), "does not cover the header x-k8s-aws-id"),
        (
            lambda e, c, n: token(e, c, n, action="GetSessionToken"),
            "something else than the caller's identity",
        ),
        (lambda e, c, n: encoded("https://sts/?Action=GetCallerIdentity"), "no request that was signed"),
        (lambda e, c, n: "k8s-aws-v1.%%%", "no address in base64"),
        (lambda e, c, n: "a service account's", "does not begin with 'k8s-aws-v1.'"),
    ],
)
def test_a_token_that_is_not_good_for_the_cluster_is_refused(
    emulator: Emulator,
    cluster: dict[str, Any],
    wrong: Callable[[Emulator, Credentials, str], str],
    told: str,
) -> None:
    status = review(emulator, cluster, wrong(emulator, session(emulator), cluster["name"]))
    assert status["authenticated"] is False
    assert told in status["error"]
