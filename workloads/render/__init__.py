"""Renderers: pure functions of a run and cluster info, one per format, that write what a scheduler takes."""
