"""Logging in to nodes by Session Manager."""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from catalog.login_users import UBUNTU

IDLE_MINUTES = "20"
"""A session that nothing happens in ends after this; Session Manager takes 1 to 60, as text."""


def session_statement() -> iam.PolicyStatement:
    """Return what a node must be allowed to take sessions: the least that Session Manager documents."""
    return iam.PolicyStatement(
        actions=[
            "ssm:UpdateInstanceInformation",
            "ssmmessages:CreateControlChannel",
            "ssmmessages:CreateDataChannel",
            "ssmmessages:OpenControlChannel",
            "ssmmessages:OpenDataChannel",
        ],
        resources=["*"],
    )


# Session Manager starts `sh` without PAM and with /home/NAME for HOME, whatever the account's home is
# (amazon-ssm-agent, agent/session/shell/shell_unix.go). A shell is better than none where there is no home yet.
_SHELL = (
    'home="$(getent passwd "$(id -un)" | cut -d: -f6)"; export HOME="${home:-$HOME}"; unset home; '
    'cd "$HOME" || cd /; exec bash --login'
)


class NodeSession(Construct):
    """A Session Manager document that opens a login shell on a node as the image's own `user`.

    The account-wide default would be `ssm-user` without the cluster's environment. The document is named for
    the deployment, so that two deployments never share one, and updated in place.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, document_name: str, user: str = UBUNTU
    ) -> None:
        super().__init__(scope, construct_id)
        self.document = ssm.CfnDocument(
            self,
            "Document",
            name=document_name,
            document_type="Session",
            document_format="JSON",
            update_method="NewVersion",
            content={
                "schemaVersion": "1.0",
                "description": f"Shell on a node of a training cluster, as {user}",
                "sessionType": "Standard_Stream",
                "inputs": {
                    "idleSessionTimeout": IDLE_MINUTES,
                    "runAsEnabled": True,
                    "runAsDefaultUser": user,
                    "shellProfile": {"linux": _SHELL},
                },
            },
        )

    @property
    def document_name(self) -> str:
        """The name to pass to `aws ssm start-session --document-name`."""
        return self.document.ref
