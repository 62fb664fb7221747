"""Renderers: pure functions of a run and a site, one a format, that write what a scheduler takes."""
