"""CloudFormation's intrinsic functions, resolved strictly: what cannot be resolved is an error, never dropped."""

from __future__ import annotations

import base64
import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

NO_VALUE = object()
"""The value of `AWS::NoValue`: the property that holds it is left out."""

_PLACEHOLDER = re.compile(r"\$\{(!?)([^}]*)\}")
_DYNAMIC = re.compile(r"\{\{resolve:(ssm|secretsmanager):([^}]+)\}\}")


class TemplateError(Exception):
    """The template refers to something that does not exist, or uses a function wrongly."""


class Resolver:
    """Resolves values of one template.

    `values` holds parameters and pseudo parameters; `reference` returns what Ref gives for a logical id and
    `attribute` what Fn::GetAtt gives; `imported` returns the value of an export; `dynamic` the value of a
    dynamic reference (service, key); all raise on what they do not know.
    """

    def __init__(
        self,
        *,
        values: Mapping[str, Any],
        mappings: Mapping[str, Any],
        conditions: Mapping[str, Any],
        reference: Callable[[str], Any],
        attribute: Callable[[str, str], Any],
        imported: Callable[[str], str],
        zones: Callable[[], list[str]],
        dynamic: Callable[[str, str], str],
    ) -> None:
        self._values = values
        self._mappings = mappings
        self._conditions = conditions
        self._reference = reference
        self._attribute = attribute
        self._imported = imported
        self._zones = zones
        self._dynamic = dynamic

    def resolve(self, value: Any) -> Any:
        """Return `value` with every function evaluated.

        Raises:
            TemplateError: a name or a function is unknown, or an argument has the wrong form.
        """
        if isinstance(value, list):
            return [item for item in map(self.resolve, value) if item is not NO_VALUE]
        if isinstance(value, str):
            return self._looked_up(value)
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref":
                return self._ref(argument)
            if name.startswith("Fn::"):
                function = getattr(self, "_" + name[4:].lower(), None)
                if function is None:
                    raise TemplateError(f"the emulator does not know the function '{name}'")
                result = function(argument)
                # Dynamic references come last: a function may have put one together.
                return self._looked_up(result) if isinstance(result, str) else result
        resolved = {key: self.resolve(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not NO_VALUE}

    def _looked_up(self, text: str) -> str:
        return _DYNAMIC.sub(lambda match: self._dynamic(match[1], match[2]), text)

    def condition(self, name: str) -> bool:
        """Evaluate a named condition.

        Raises:
            TemplateError: the condition is not in the template.
        """
        if name not in self._conditions:
            raise TemplateError(f"condition '{name}' is not in the template")
        return self._truth(self._conditions[name])

    def _truth(self, expression: Any) -> bool:
        if isinstance(expression, bool):
            return expression
        ((name, argument),) = expression.items()
        if name == "Condition":
            return self.condition(argument)
        if name == "Fn::Equals":
            left, right = (self.resolve(side) for side in argument)
            return str(left) == str(right)
        if name == "Fn::Not":
            return not self._truth(argument[0])
        if name == "Fn::And":
            return all(self._truth(part) for part in argument)
        if name == "Fn::Or":
            return any(self._truth(part) for part in argument)
        if name == "Fn::Contains":
            return str(self.resolve(argument[1])) in [str(item) for item in self.resolve(argument[0])]
        raise TemplateError(f"the emulator does not know the condition function '{name}'")

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in self._values:
            return self._values[name]
        return self._reference(name)

    def _getatt(self, argument: Any) -> Any:
        if isinstance(argument, str):
            logical_id, _, name = argument.partition(".")
        else:
            logical_id, name = argument[0], self.resolve(argument[1])
        return self._attribute(logical_id, name)

    def _if(self, argument: list[Any]) -> Any:
        name, when_true, when_false = argument
        return self.resolve(when_true if self.condition(name) else when_false)

    def _join(self, argument: list[Any]) -> str:
        separator, parts = argument
        return str(separator).join(_text(part) for part in self.resolve(parts))

    def _split(self, argument: list[Any]) -> list[str]:
        separator, text = argument
        return _text(self.resolve(text)).split(separator)

    def _select(self, argument: list[Any]) -> Any:
        index, items = int(self.resolve(argument[0])), self.resolve(argument[1])
        if not 0 <= index < len(items):
            raise TemplateError(f"Fn::Select cannot select item {index} of {len(items)}")
        return items[index]

    def _findinmap(self, argument: list[Any]) -> Any:
        name, first, second = (self.resolve(part) for part in argument[:3])
        try:
            return self._mappings[name][first][second]
        except KeyError:
            if len(argument) > 3 and "DefaultValue" in argument[3]:
                return self.resolve(argument[3]["DefaultValue"])
            raise TemplateError(f"mapping '{name}' has no entry '{first}', '{second}'") from None

    def _sub(self, argument: Any) -> str:
        text, extra = (argument, {}) if isinstance(argument, str) else argument
        variables = {key: self.resolve(item) for key, item in extra.items()}

        def replaced(match: re.Match[str]) -> str:
            literal, name = match[1], match[2].strip()
            if literal:
                return "${" + name + "}"
            if name in variables:
                return _text(variables[name])
            return _text(self._getatt(name) if "." in name else self._ref(name))

        return _PLACEHOLDER.sub(replaced, text)

    def _importvalue(self, argument: Any) -> str:
        return self._imported(_text(self.resolve(argument)))

    def _getazs(self, _argument: Any) -> list[str]:
        return self._zones()

    def _base64(self, argument: Any) -> str:
        return base64.b64encode(_text(self.resolve(argument)).encode()).decode()

    def _cidr(self, argument: list[Any]) -> list[str]:
        block, count, *bits = (self.resolve(part) for part in argument)
        network = ipaddress.ip_network(block)
        host_bits = int(bits[0]) if bits else 8
        subnets = network.subnets(new_prefix=network.max_prefixlen - host_bits)
        return [str(subnet) for subnet, _ in zip(subnets, range(int(count)), strict=False)]

    def _length(self, argument: Any) -> int:
        return len(self.resolve(argument))

    def _tojsonstring(self, argument: Any) -> str:
        return json.dumps(self.resolve(argument), separators=(",", ":"))


def _text(value: Any) -> str:
    """Return a scalar as CloudFormation writes it into a string.

    Raises:
        TemplateError: a list or an object is where text is required.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise TemplateError(f"text is required where the template gives {type(value).__name__}")
