"""A fleet of nodes that do not exist: their series, and a Prometheus that holds them."""
