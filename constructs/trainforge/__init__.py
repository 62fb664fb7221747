"""The construct library of trainforge: things of the domain, with a small keyword-only API."""
