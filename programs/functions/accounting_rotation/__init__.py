"""The rotation of the accounting database's password."""
