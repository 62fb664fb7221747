"""EC2 Image Builder, which moto does not have: its resources are checked as the service checks them, and build nothing.

Sources of the checks: botocore, imagebuilder, the documentation of the requests; Image Builder User Guide, "Use the
AWSTOE component document framework for custom components" (`_PHASES`, the keys) and "Action modules supported by AWSTOE
component manager" (`_ACTIONS`).
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, ClassVar

import yaml

from emulator.resources.resource import Properties, RecordedResource, resource

NAMES: dict[str, str] = {}
"""The ARNs that exist, and for a component its content: names are unique in an account and a region."""

_PHASES = {"build", "validate", "test", "container-host-test"}
_ACTIONS = {
    *(
        "ExecuteBash",
        "ExecuteBinary",
        "ExecuteDocument",
        "ExecutePowerShell",
        "Reboot",
        "SetRegistry",
        "UpdateOS",
    ),
    *("Assert", "S3Download", "S3Upload", "WebDownload"),
    *("AppendFile", "CopyFile", "CopyFolder", "CreateFile", "CreateFolder", "CreateSymlink", "DeleteFile"),
    *("DeleteFolder", "ListFiles", "MoveFile", "MoveFolder", "ReadFile", "SetFileEncoding", "SetFileOwner"),
    *("SetFolderOwner", "SetFilePermissions", "SetFolderPermissions"),
    *("InstallMSI", "UninstallMSI"),
}
_DOCUMENT = {"name", "description", "schemaVersion", "phases", "parameters", "constants"}
_STEP = {"name", "action", "timeoutSeconds", "onFailure", "maxAttempts", "inputs", "if", "loop"}
_FAILURES = {"Abort", "Continue", "Ignore"}
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")
_MAX_NODE = 2**30 - 1
_PARENT = re.compile(r"ami-[0-9a-f]{8,17}|ssm:.+|arn:[^:]+:imagebuilder:.+|prod-.+")


def document_mistakes(text: str) -> list[str]:
    """Return what the service refuses in a component's document."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        return [f"the document is not YAML: {error}"]
    if not isinstance(document, dict) or not isinstance(document.get("phases"), list):
        return ["the document has no list of phases"]
    found = [f"unknown key '{key}'" for key in sorted(set(document) - _DOCUMENT)]
    if str(document.get("schemaVersion")) not in ("1.0", "1"):
        found.append(f"schemaVersion '{document.get('schemaVersion')}' is not 1.0")
    names = [str(phase.get("name")) for phase in document["phases"]]
    if not {"build", "validate", "test"} & set(names):
        found.append("there is none of the phases build, validate and test")
    found += [f"phase '{name}' is not unique" for name, count in Counter(names).items() if count > 1]
    found += [f"there is no phase '{name}'" for name in names if name not in _PHASES]
    for phase in document["phases"]:
        found += _step_mistakes(str(phase.get("name")), phase.get("steps") or [])
    return found


def _step_mistakes(phase: str, steps: list[dict[str, Any]]) -> list[str]:
    found = [] if steps else [f"phase '{phase}' has no steps"]
    names = Counter(str(step.get("name")) for step in steps)
    found += [f"step '{name}' is not unique in phase '{phase}'" for name, count in names.items() if count > 1]
    for step in steps:
        where = f"step '{step.get('name')}' of phase '{phase}'"
        found += [f"{where}: unknown key '{key}'" for key in sorted(set(step) - _STEP)]
        if step.get("action") not in _ACTIONS:
            found.append(f"{where}: there is no action '{step.get('action')}'")
        seconds = step.get("timeoutSeconds", 1)
        if not isinstance(seconds, int) or seconds == 0 or seconds < -1:
            found.append(f"{where}: timeoutSeconds is {seconds}")
        if step.get("onFailure", "Abort") not in _FAILURES:
            found.append(f"{where}: onFailure is '{step['onFailure']}'")
        if step.get("action") == "ExecuteBash" and not (step.get("inputs") or {}).get("commands"):
            found.append(f"{where}: ExecuteBash has no commands")
        if step.get("action") == "S3Download":
            given = step.get("inputs") or []
            if not given or any(
                set(one) - {"expectedBucketOwner"} != {"source", "destination"} for one in given
            ):
                found.append(f"{where}: S3Download takes a list of source and destination")
    return found


class Named(RecordedResource):
    """A resource whose ARN, which Ref returns too, is made of its name in lower case with dashes."""

    part: ClassVar[str] = ""

    def create(self) -> None:
        """Record it under its ARN; the service refuses one that exists."""
        self.check()
        arn = self.arn("imagebuilder", f"{self.part}/{self.path()}")
        if arn in NAMES:
            self.fail(f"Resource of type '{self.part}' with identifier '{arn}' already exists.")
        NAMES[arn] = ""
        self.physical_id = arn
        self.attributes = self.generated()

    def path(self) -> str:
        """Return what follows the kind in the ARN."""
        return re.sub(r"[ _]", "-", str(self.properties["Name"])).lower()

    def check(self) -> None:
        """Fail for what the service refuses."""

    def generated(self) -> dict[str, Any]:
        """Return the ARN."""
        return {"Arn": self.physical_id}

    def update(self, previous: Properties) -> None:
        """Record the new properties."""
        self.check()
        super().update(previous)

    def delete(self) -> None:
        """Forget it."""
        NAMES.pop(self.physical_id, None)

    def must_exist(self, arn: str) -> None:
        """Fail unless the emulator has a resource of Image Builder by this ARN."""
        if arn not in NAMES:
            self.fail(f"The resource '{arn}' does not exist")


class Versioned(Named):
    """A resource that cannot change under one version: another version makes another."""

    def path(self) -> str:
        """Return the name and the version."""
        return f"{super().path()}/{self.properties['Version']}"

    def check(self) -> None:
        """Fail unless the version is three numbers that the service takes."""
        version = str(self.properties["Version"])
        if not _VERSION.fullmatch(version) or any(int(node) > _MAX_NODE for node in version.split(".")):
            self.fail(f"The version '{version}' is not MAJOR.MINOR.PATCH of numbers up to {_MAX_NODE}")


@resource("AWS::ImageBuilder::Component")
class Component(Versioned):
    """A component, whose document is read and never run. Its ARN ends with the number of its build."""

    part = "component"

    def path(self) -> str:
        """Return name, version and build, of which there is one: another content wants another version here."""
        return f"{super().path()}/1"

    def check(self) -> None:
        """Fail unless there is one document, which the component framework can run."""
        super().check()
        if ("Data" in self.properties) == ("Uri" in self.properties):
            self.fail("A component has either Data or Uri")
        if "Data" in self.properties:
            mistakes = document_mistakes(str(self.properties["Data"]))
            if mistakes:
                self.fail(f"The component document is invalid: {'; '.join(mistakes)}")

    def generated(self) -> dict[str, Any]:
        """Return the ARN, and the phases' type."""
        return {"Arn": self.physical_id, "Type": "BUILD", "Encrypted": True}


@resource("AWS::ImageBuilder::ImageRecipe")
class ImageRecipe(Versioned):
    """A recipe of an image."""

    part = "image-recipe"

    def check(self) -> None:
        """Fail for a parent that is none, and for components that do not exist or come twice."""
        super().check()
        parent = str(self.properties["ParentImage"])
        if not _PARENT.fullmatch(parent):
            self.fail(f"The value supplied for parameter 'parentImage' is not valid: '{parent}'")
        arns = [str(one["ComponentArn"]) for one in self.properties.get("Components", [])]
        for arn, count in Counter(arns).items():
            if ":aws:component/" not in arn:
                self.must_exist(arn)
            if count > 1:
                self.fail(f"The component '{arn}' is specified more than once")


@resource("AWS::ImageBuilder::InfrastructureConfiguration")
class InfrastructureConfiguration(Named):
    """The settings of instances that build, which never run."""

    part = "infrastructure-configuration"

    def check(self) -> None:
        """Fail for a subnet without a group, and for an instance profile that does not exist."""
        if "SubnetId" in self.properties and not self.properties.get("SecurityGroupIds"):
            self.fail("If you specify subnetId, you must also specify securityGroupIds")
        name = self.properties["InstanceProfileName"]
        iam = self.aws("iam")
        try:
            iam.get_instance_profile(InstanceProfileName=name)
        except iam.exceptions.NoSuchEntityException:
            self.fail(f"The instance profile '{name}' does not exist")


@resource("AWS::ImageBuilder::DistributionConfiguration")
class DistributionConfiguration(Named):
    """The regions that images and the parameters with their ids go to."""

    part = "distribution-configuration"

    def check(self) -> None:
        """Fail for a region that comes twice, and for a parameter's account that gets no image."""
        distributions = self.properties["Distributions"]
        regions = Counter(one["Region"] for one in distributions)
        if any(count > 1 for count in regions.values()):
            self.fail("A region can have one distribution")
        for one in distributions:
            targets = one.get("AmiDistributionConfiguration", {}).get("TargetAccountIds", [])
            for parameter in one.get("SsmParameterConfigurations", []):
                owner = parameter.get("AmiAccountId")
                if owner and owner not in targets:
                    self.fail(f"The account '{owner}' of a parameter is not a target account of its region")


@resource("AWS::ImageBuilder::ImagePipeline")
class ImagePipeline(Named):
    """A pipeline, which starts no builds."""

    part = "image-pipeline"

    def check(self) -> None:
        """Fail for what does not exist, and for settings that contradict each other."""
        given = self.properties
        for key in ("ImageRecipeArn", "InfrastructureConfigurationArn", "DistributionConfigurationArn"):
            if key in given:
                self.must_exist(str(given[key]))
        tests = given.get("ImageTestsConfiguration", {}).get("ImageTestsEnabled", True)
        scan = given.get("ImageScanningConfiguration", {}).get("ImageScanningEnabled", False)
        if str(scan).lower() == "true" and str(tests).lower() == "false":
            self.fail("Image scanning needs image tests")
        if given.get("Workflows") and "ExecutionRole" not in given:
            self.fail("You must specify executionRole when you provide workflows")
        expression = str(given.get("Schedule", {}).get("ScheduleExpression", "rate(1 day)"))
        kind, _, fields = expression.removesuffix(")").partition("(")
        if not expression.endswith(")") or (kind, len(fields.split())) not in (("cron", 6), ("rate", 2)):
            self.fail(f"The schedule expression '{expression}' is not valid")


@resource("AWS::ImageBuilder::LifecyclePolicy")
class LifecyclePolicy(Named):
    """A policy of old images, of which there are none."""

    part = "lifecycle-policy"

    def check(self) -> None:
        """Fail for filters and resources that an action does not take."""
        selection = self.properties["ResourceSelection"]
        if bool(selection.get("Recipes")) == bool(selection.get("TagMap")):
            self.fail("You must provide exactly one selection criteria: recipes or tagMap")
        for detail in self.properties["PolicyDetails"]:
            action, kept = detail["Action"], detail["Filter"]
            included = {
                name
                for name, value in action.get("IncludeResources", {}).items()
                if str(value).lower() == "true"
            }
            if kept["Type"] == "COUNT" and action["Type"] != "DELETE":
                self.fail("The count filter can be used with the DELETE action only")
            if kept["Type"] == "AGE" and "Unit" not in kept:
                self.fail("A unit is required for age-based rules")
            if "Snapshots" in included and "Amis" not in included:
                self.fail("Snapshots can be included together with AMIs only")
            if action["Type"] != "DELETE" and included - {"Amis"}:
                self.fail(f"The action {action['Type']} can include AMIs only")
