"""Removes the records that others put into a hosted zone of ours, before it is deleted."""
