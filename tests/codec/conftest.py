"""The small model's fixtures, for these tests."""

from tests.support.small_model import (
    any_revision,
    codec,
    model_path,
    revision_two,
    serial,
    two_tunings,
)

__all__ = ["any_revision", "codec", "model_path", "revision_two", "serial", "two_tunings"]
