"""A server that stands for AWS, and a home of its own for what Ray writes into ~/.ssh."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.s3_fixtures import s3_environment
from tests.support.s3_servers import moto_server

__all__ = ["aws", "s3_endpoint", "s3_environment"]


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """A moto server: it plays EC2 and IAM as well, which Ceph doesn't."""
    with moto_server() as endpoint:
        yield endpoint


@pytest.fixture
def aws(
    s3_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Variables of boto3 for a moto server, with HOME in a temporary folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return s3_environment
