"""Prints one text of a JSON file: `settings.py FILE KEY`. Shell scripts read their settings by it."""

import json
import sys
from pathlib import Path


def main(path: str, key: str) -> int:
    """Print the value; return 1 where the file has none of that name."""
    value = json.loads(Path(path).read_text(encoding="utf-8")).get(key)
    if not isinstance(value, str) or not value:
        sys.stderr.write(f"'{path}' has no text '{key}'\n")
        return 1
    sys.stdout.write(value if value.endswith("\n") else f"{value}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
