"""The directory: an OpenLDAP server that tells every node who people are."""
