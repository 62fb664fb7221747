"""The user data of a directory server: it fetches its program, which does the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping

HOME = "/opt/trainforge/directory"
SETTINGS = "/etc/trainforge/directory-server.json"

_SCRIPT = """\
#!/bin/bash
set -euo pipefail
umask 022
mkdir -p {home} /etc/trainforge
cat > {settings} <<'SETTINGS'
{values}
SETTINGS
for attempt in 1 2 3 4 5; do
  if apt-get -o DPkg::Lock::Timeout=300 update && \\
      DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install --yes \\
      --no-install-recommends python3-boto3; then break; fi
  sleep $((attempt * 10))
done
python3 - <<'FETCH'
import json, pathlib, boto3
settings = json.load(open("{settings}"))
s3 = boto3.client("s3", region_name=settings["region"])
bucket, prefix = settings["bucket"], settings["program_prefix"]
for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
    for item in page["Contents"]:
        target = pathlib.Path("{home}") / item["Key"][len(prefix):]
        target.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(bucket, item["Key"], str(target))
FETCH
exec bash {home}/set_up.sh
"""


def user_data(values: Mapping[str, str]) -> str:
    """Return the script; `values` are the server's settings and may hold CDK tokens, but no secrets."""
    return _SCRIPT.format(
        home=HOME, settings=SETTINGS, values=json.dumps(dict(values), indent=1, sort_keys=True)
    )
