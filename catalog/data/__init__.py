"""Data files of facts; `catalog.records` reads them."""
