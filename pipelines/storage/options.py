"""Options of one S3 address, after a question mark; named as the AWS command line names them.

    s3://bucket/photos?profile=partner&endpoint-url=https://ceph.example
    s3://open-data/photos?no-sign-request&region=eu-west-1
    s3://bucket/archive?storage-class=STANDARD_IA&sse-kms-key-id=alias/photos

What isn't given comes by boto3's usual chain. Source and destination of a job each have their own.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from urllib.parse import parse_qsl

from deepsic.errors import UsageError

__all__ = ["S3Options", "parse_options"]

_YES, _NO = ("", "true", "yes", "1"), ("false", "no", "0")


@dataclass(frozen=True, kw_only=True)
class S3Options:
    """How one bucket is reached, and how objects are written to it."""

    profile: str | None = None
    """Profile of `~/.aws`: other keys, or a role to assume."""
    endpoint_url: str | None = None
    region: str | None = None
    no_sign_request: bool = False
    """Ask without credentials, for public buckets."""
    request_payer: bool = False
    """Agree to pay for the requests, where the bucket's owner doesn't."""
    storage_class: str | None = None
    """Of objects written, such as STANDARD_IA."""
    sse_kms_key_id: str | None = None
    """Encrypt objects written with this KMS key; "aws" takes the account's own key."""


def parse_options(query: str, url: str) -> S3Options:
    """Read what stands after the question mark of `url`.

    Raises: `UsageError` for an option that there isn't, naming those that there are.
    """
    known = {field.name.replace("_", "-"): field for field in fields(S3Options)}
    values: dict[str, str | bool] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        field = known.get(name)
        if field is None:
            raise UsageError(f"{url}: no option {name!r}; there are {', '.join(sorted(known))}")
        if field.type != "bool":
            values[field.name] = text
        elif text.lower() in (*_YES, *_NO):
            values[field.name] = text.lower() in _YES
        else:
            raise UsageError(f"{url}: {name}={text} must be true or false")
    return S3Options(**values)  # type: ignore[arg-type]
