"""The Xid codes of the health checks: those of the catalog, as the JSON file beside the checks' code.

`trainforge render --write` writes the file, as that of the instance types (health_data.py).
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from catalog.xids import xids

PATH = Path(__file__).parent / "runtime" / "health" / "xids.json"
_ABOUT = "Generated from the catalog by 'make manifests': change that, not this."


def text() -> str:
    """Return the text of the file: an object for each code, a line each."""
    lines = []
    for code, xid in xids().items():
        fields = {name: value for name, value in asdict(xid).items() if name != "code"}
        lines.append(f'  "{code}": {json.dumps(fields)}')
    joined = ",\n".join(lines)
    return f'{{"about": {json.dumps(_ABOUT)},\n "codes": {{\n{joined}\n }}}}\n'
