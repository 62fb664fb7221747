"""The directory: an OpenLDAP server with the users of every node."""
