"""Renderers: pure functions of a run and cluster info, one a format, that write what a scheduler takes."""
