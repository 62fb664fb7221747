"""The ARN of a Secrets Manager secret: its form, and the finding on a wrong one, which shows no secret."""

from __future__ import annotations

import re

from settings.parser.values import shown
from settings.rules.rule import Problem

# With the six characters that Secrets Manager adds to a name: whoever reads the secret is given this very ARN.
_WHOLE = r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[\w/+=.@-]+-[A-Za-z0-9]{6}"
# ECS takes the key of a JSON value, the version's stage and its id behind it (ECS Developer Guide, "Pass Secrets
# Manager secrets through environment variables").
_KEY = r"(:[^:*]*){0,3}"
_FORM = "arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-XXXXXX"


def secret_problem(path: str, arn: str, *, keys: bool = False) -> Problem | None:
    """Return what is wrong with the ARN of a secret at `path`, or None; `keys`: a JSON key may follow it.

    What does not begin as an ARN may be the secret itself, and is not shown.
    """
    if re.fullmatch(_WHOLE + (_KEY if keys else ""), arn, re.ASCII):
        return None
    is_arn = arn.startswith("arn:")
    return Problem(
        path,
        arn if is_arn else None,
        f"{_quoted(arn) if is_arn else 'the value'} is not the whole ARN of a secret, '{_FORM}'",
        "'aws secretsmanager describe-secret --secret-id NAME' prints it; the value itself belongs in the "
        "secret and never in a configuration",
    )


def _quoted(arn: str) -> str:
    return f"'{shown(arn)}'"
