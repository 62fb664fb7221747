"""Skips that continuous integration allows, each by a pattern of its reason and with why that is right.

Any other skip fails there: a test that did not run proves nothing. So does the skip of a test that a workload's proofs
name (the mark `proof`), whatever the list says, for the proofs are read from the source.
"""

from __future__ import annotations

import re

ALLOWED = {
    r"heavy; runs with --all": "the run without --all leaves these to the one with it",
    r"no Python 3\.(9|10) is installed": "neither Debian 13 nor PyPI has them; vermin judges the sources in any case",
    r"takes no path that has a space": "torch.compile; a checkout in another folder runs these",
    r"no small file system can be mounted here": "a container may not mount, whoever runs in it; on a machine it runs",
}


def objection(reason: str, *, proof: bool, everything: bool) -> str:
    """Return why continuous integration does not take a skip, or nothing where it does.

    `proof`: a workload's proofs name the test; `everything`: the heavy tests run too.
    """
    pattern = next((pattern for pattern in ALLOWED if re.search(pattern, reason)), None)
    if pattern is None:
        return f"skipped, and tests/skips.py does not allow it in CI: {reason}"
    heavy = pattern.startswith("heavy") and not everything
    if proof and not heavy:
        return f"skipped, and it is named as a proof: {reason}"
    return ""
