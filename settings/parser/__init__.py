"""The YAML reader: limits, messages for what is wrong, and a model of the parts that are right."""
