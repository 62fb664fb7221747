"""The sections of the configuration: one model each, frozen and described field by field."""
