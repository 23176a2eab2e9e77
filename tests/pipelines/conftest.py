"""S3 servers for the tests of storage and of what stands on it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.support.s3_fixtures import s3_environment
from tests.support.s3_servers import ceph_gateway, missing_ceph, moto_server

__all__ = ["bucket", "s3_endpoint", "s3_environment"]


@pytest.fixture(scope="session", params=["moto", pytest.param("ceph", marks=pytest.mark.slow)])
def s3_endpoint(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server on loopback: moto's, and in the slow tests Ceph's gateway as well."""
    if request.param == "ceph" and (missing := missing_ceph()):
        pytest.skip(f"no {', '.join(missing)}: install ceph-mon, ceph-osd and radosgw")
    with moto_server() if request.param == "moto" else ceph_gateway() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(s3_environment: dict[str, str]) -> str:
    """Address of a new, empty bucket."""
    import boto3

    name = f"b{time.time_ns()}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"
