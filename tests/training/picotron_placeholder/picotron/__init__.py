"""A placeholder for the package picotron."""
