"""Speed, measured on this machine against DESIGN's bounds: `make bench`."""
