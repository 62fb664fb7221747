"""A line in the file that ORDER names: what ran, and on which node. It fails where a file says that it should."""

import os
import sys
from pathlib import Path

order = Path(os.environ["ORDER"])
with order.open("a", encoding="ascii") as file:
    file.write(f"{sys.argv[1]}.{os.environ['NODE_RANK']}\n")
# As a program that knows that another start would fail too.
sys.exit(65 if order.with_name(f"{sys.argv[1]}.fails").exists() else 0)
