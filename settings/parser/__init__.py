"""The YAML reader: limits, messages for mistakes, and a model of the valid parts."""
