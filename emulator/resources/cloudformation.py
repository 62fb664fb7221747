"""Nested stacks with a template that another publisher provides."""

from __future__ import annotations

import re
import uuid
from typing import Any

from emulator.resources.resource import Kind, Properties, Resource, resource

_PROVIDER = re.compile(
    r"https://(?P<region>[a-z0-9-]+)-aws-parallelcluster\.s3\.(?P=region)\.amazonaws\.com(?:\.cn)?/"
    r"parallelcluster/\d+\.\d+\.\d+/templates/custom_resource/cluster\.yaml"
)
_MAX_POLICIES = 4
"""IAM lets a role have ten managed policies, and the template attaches six of its own."""


@resource("AWS::CloudFormation::Stack")
class NestedStack(Resource):
    """ParallelCluster's provider, with a template in a bucket of AWS: parameters are checked, outputs are invented.

    Another template is refused: nothing here nests stacks of its own.
    """

    kind = Kind.ANSWERED

    def create(self) -> None:
        """Check what the template takes, and answer as it does."""
        url = self.properties["TemplateURL"]
        found = _PROVIDER.fullmatch(url)
        if not found:
            self.fail(f"the emulator knows no template at '{url}'")
        if found["region"] != self.context.region:
            self.fail(f"the template of '{found['region']}' is for that region, not '{self.context.region}'")
        given = self.properties.get("Parameters", {})
        unknown = sorted(set(given) - {"CustomLambdaRole", "AdditionalIamPolicies", "CustomBucket"})
        if unknown:
            self.fail(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
        policies = [arn for arn in given.get("AdditionalIamPolicies", "").split(",") if arn]
        if len(policies) > _MAX_POLICIES:
            self.fail(f"a role has at most ten managed policies, and {len(policies)} are added to six")
        for arn in policies:
            self.aws("iam").get_policy(PolicyArn=arn)
        suffix = uuid.uuid4()
        if not self.physical_id:
            name = f"{self.context.stack_name}-{self.logical_id}"
            self.physical_id = self.arn("cloudformation", f"stack/{name}/{suffix}")
        self.attributes = {
            "Outputs.ServiceToken": self.arn("lambda", f"function:pcluster-cfn-{suffix}"),
            "Outputs.LogGroupArn": self.arn("logs", f"log-group:/aws/lambda/pcluster-cfn-{suffix}"),
            "Outputs.LambdaLayerArn": self.arn("lambda", f"layer:PCLayer-{suffix}:1"),
        }

    def update(self, previous: Properties) -> None:
        """Check the new parameters; the function keeps its name."""
        del previous
        held: dict[str, Any] = self.attributes
        self.create()
        self.attributes = held

    def apply_tags(self) -> None:
        """Tags of a stack are those of what is in it, which is not here."""

    def delete(self) -> None:
        """Forget it."""
