"""The deletion of the records that servers left in a hosted zone."""
