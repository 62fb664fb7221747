"""Reading YAML within limits, messages about its mistakes, and models of what is left where a part is broken."""
