"""boto3's S3 client, one for each process and set of options, and a fast reading of its lists."""

from __future__ import annotations

import functools
import os
import xml.etree.ElementTree as ElementTree
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from pipelines.storage.base import ObjectInfo
from pipelines.storage.options import S3Options

__all__ = ["OBJECTS", "s3_client"]

ATTEMPTS = 10
CONNECT_SECONDS, READ_SECONDS = 10, 60
CONNECTIONS = 64
#: Where an answer of ListObjectsV2 has its objects, in place of boto3's `Contents`.
OBJECTS = "Objects"
#: Any service's, which puts it before boto3's own look for errors in a page: that parses it whole.
_LISTING = "before-parse.*.ListObjectsV2"


def s3_client(options: S3Options) -> Any:
    """The client for `options`: shared by threads, not across a fork."""
    return _client_of(os.getpid(), options)


@functools.lru_cache(maxsize=8)
def _client_of(process: int, options: S3Options) -> Any:
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    session = boto3.Session(profile_name=options.profile, region_name=options.region)
    core = session._session  # boto3 has no public way to ask whether the user chose
    retries: dict[str, Any] = {}
    if os.environ.get("AWS_RETRY_MODE") is None and "retry_mode" not in core.get_scoped_config():
        retries["mode"] = "standard"
    if core.get_config_variable("max_attempts") is None:
        retries["total_max_attempts"] = ATTEMPTS
    unsigned = {"signature_version": UNSIGNED} if options.no_sign_request else {}
    client = session.client(
        "s3",
        region_name=session.region_name or "us-east-1",
        endpoint_url=options.endpoint_url,
        config=Config(
            retries=retries or None,
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            max_pool_connections=CONNECTIONS,
            user_agent_extra="deepsic",
            **unsigned,
        ),
    )
    client.meta.events.register(_LISTING, _read_objects)
    return client


def _read_objects(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    """Take the objects out of a page and leave boto3 the rest: a twelfth of its own time a key."""
    if response_dict["status_code"] >= 300:
        return
    try:
        root = ElementTree.fromstring(response_dict["body"])
    except ElementTree.ParseError:
        return  # boto3 says better what is wrong
    space = root.tag[: root.tag.find("}") + 1]
    encoded = root.findtext(f"{space}EncodingType") == "url"
    key_of, size_of, tag_of = f"{space}Key", f"{space}Size", f"{space}ETag"
    time_of, class_of = f"{space}LastModified", f"{space}StorageClass"
    found = []
    for entry in root.findall(f"{space}Contents"):
        parts = {part.tag: part.text or "" for part in entry}
        key = parts[key_of]
        found.append(
            ObjectInfo(
                unquote_plus(key) if encoded and ("%" in key or "+" in key) else key,
                int(parts[size_of]),
                parts.get(tag_of, "").strip('"'),
                "",
                datetime.fromisoformat(parts[time_of]).timestamp(),
                parts.get(class_of, ""),
            )
        )
        root.remove(entry)
    customized_response_dict[OBJECTS] = found
    response_dict["body"] = ElementTree.tostring(root)
