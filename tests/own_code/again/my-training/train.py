"""Another program, in a folder of the same name."""
