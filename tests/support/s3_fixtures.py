"""What tests of S3 share: the variables that boto3 reads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipelines.storage import client
from tests.support.s3_servers import CREDENTIALS

__all__ = ["s3_environment"]


@pytest.fixture(scope="session")
def s3_environment(s3_endpoint: str) -> Iterator[dict[str, str]]:
    """The usual variables of boto3 for that server."""
    values = CREDENTIALS | {"AWS_ENDPOINT_URL": s3_endpoint}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        client._client_of.cache_clear()  # it may know the server before
        yield values
    client._client_of.cache_clear()
