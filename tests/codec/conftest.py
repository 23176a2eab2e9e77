"""The small model's fixtures, for these tests."""

from tests.support.small_model import codec, model_path

__all__ = ["codec", "model_path"]
