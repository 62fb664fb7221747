"""Types without a handler of ours: moto's own CloudFormation models, where moto has one."""

from __future__ import annotations

from typing import Any

from moto.cloudformation import parsing

from emulator.resources.resource import Context, Kind, Properties, Resource, ResourceFailure


class MotoResource(Resource):
    """Wraps moto's CloudFormation model of a type. It can create and delete; updates are refused by name."""

    kind = Kind.CREATED

    def create(self) -> None:
        """Let moto create it."""
        model = parsing.get_model_map()[self.resource_type]
        name_property = model.cloudformation_name_type()
        name = self.properties.get(name_property) if name_property else None
        self._instance = model.create_from_cloudformation_json(
            str(name or self.generated_name()),
            {"Type": self.resource_type, "Properties": dict(self.properties)},
            self.context.account,
            self.context.region,
            LogicalId=self.logical_id,
            StackId=self.context.stack_id,
            ResourceType=self.resource_type,
        )
        self.physical_id = str(self._instance.physical_resource_id)

    def attribute(self, name: str) -> Any:
        """Return moto's value of the attribute.

        Raises:
            ResourceFailure: moto has none.
        """
        try:
            value = self._instance.get_cfn_attribute(name)
        except Exception as error:
            raise ResourceFailure(f"moto's '{self.resource_type}' has no attribute '{name}'") from error
        if value is None:
            raise ResourceFailure(f"moto's '{self.resource_type}' has no value for '{name}'")
        return value

    def delete(self) -> None:
        """Let moto delete it.

        Raises:
            ResourceFailure: moto's model cannot.
        """
        own = getattr(self._instance, "delete", None)
        if own is not None:
            try:
                own(self.context.account, self.context.region)
                return
            except TypeError:
                pass  # A method of the same name for another purpose: the model's own deletion follows.
        model = parsing.get_model_map()[self.resource_type]
        if hasattr(model.delete_from_cloudformation_json, "__isabstractmethod__"):
            raise ResourceFailure(f"moto's '{self.resource_type}' cannot be deleted; a handler of ours must")
        model.delete_from_cloudformation_json(
            self.physical_id,
            {"Type": self.resource_type, "Properties": dict(self.properties)},
            self.context.account,
            self.context.region,
        )


def handler_of_moto(
    context: Context, resource_type: str, logical_id: str, properties: Properties
) -> Resource | None:
    """Return a handler around moto's model of a type, or None where moto has none."""
    if resource_type not in parsing.get_model_map():
        return None
    return MotoResource(context, resource_type, logical_id, properties)
