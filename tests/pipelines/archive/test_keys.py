"""Output keys: portable, and never shared by two sources."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipelines.archive.keys import RENAMED, output_key

PARTS = st.sampled_from(["a", "b.sic", "", ".", "..", ".deepsic", "_renamed", "ü", "x" * 300, "\0"])
KEYS = st.lists(PARTS, min_size=1, max_size=5).map("/".join)


def test_usual_keys_keep_their_name() -> None:
    assert output_key("a/b.jpg") == "a/b.jpg.sic"
    assert output_key("a/b.png") == "a/b.png.sic"
    assert output_key("Zürich/😀 1.jpg", ".png") == "Zürich/😀 1.jpg.png"


def test_keys_that_no_folder_can_hold_are_renamed() -> None:
    for key in ("../a.jpg", "/a.jpg", "a//b.jpg", ".deepsic/job.json", "_renamed/x", "n" * 1000):
        assert output_key(key).startswith(f"{RENAMED}/"), key


def test_length_counts_utf8_bytes_and_the_suffix() -> None:
    key = "/".join(["é" * 100] * 5)  # 1,004 bytes
    assert output_key(key, max_key_bytes=1024) == key + ".sic"
    assert output_key(key, max_key_bytes=1007).startswith(RENAMED)


@given(KEYS, KEYS)
def test_two_sources_never_share_an_output(one: str, other: str) -> None:
    assert (output_key(one) == output_key(other)) == (one == other)


@given(KEYS, KEYS)
def test_no_output_is_the_folder_of_another(one: str, other: str) -> None:
    assert not output_key(one).startswith(output_key(other) + "/")
