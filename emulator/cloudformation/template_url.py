"""Templates by URL, as the CDK CLI sends them."""

from __future__ import annotations

from urllib.parse import unquote, urlparse

from moto.cloudformation.exceptions import ValidationError
from moto.s3.models import s3_backends


def template_of_url(template_url: str, account_id: str, partition: str) -> str:
    """Return a template from the emulator's S3, by a URL of AWS or of this server, bucket in path or host.

    moto's own function takes the first number of an address for a bucket.
    """
    parts = urlparse(template_url)
    bucket, _, rest = (parts.hostname or "").partition(".")
    key = parts.path.lstrip("/")
    if not rest.startswith("s3"):
        bucket, _, key = key.partition("/")
    found = s3_backends[account_id][partition].get_object(bucket, unquote(key))
    if found is None:
        raise ValidationError(message=f"S3 error: there is no object '{key}' in bucket '{bucket}'")
    return str(found.value.decode())
