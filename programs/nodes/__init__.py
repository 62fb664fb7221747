"""Set-up of nodes: a folder for each kind of node, and what kinds share."""
