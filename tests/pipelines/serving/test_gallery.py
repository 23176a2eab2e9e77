"""The files that the page searches: few, small, and free to be passed on."""

from __future__ import annotations

from pipelines.serving.api import gallery, pages


def test_everything_in_the_gallery_may_be_passed_on() -> None:
    """Files, sources and sizes are one list, and licences allow copies."""
    files = {path.name for path in gallery.GALLERY.glob("*.sic")}
    assert set(gallery.sources()) == files
    assert {row["name"] for row in gallery.rows("jpeg.tsv")} == files
    for source in gallery.sources().values():
        assert source.licence in ("CC0 1.0", "CC BY 2.0", "public domain")
        assert source.credit
        assert source.address.startswith("https://")
    total = sum(path.stat().st_size for path in gallery.GALLERY.glob("*.sic"))
    assert total < 1_000_000


def test_every_sample_photograph_has_a_licence() -> None:
    rows = (pages.WEB / "samples" / "README.md").read_text(encoding="utf-8").splitlines()
    for name in pages.SAMPLES:
        (row,) = (row for row in rows if f"`{name}`" in row)
        assert row.endswith("| CC0 1.0 |")


def test_the_search_reads_first_bytes_only() -> None:
    found = gallery.search("dog")
    assert found.searched == len(gallery.sources())
    assert found.bytes_read <= 256 * found.searched
    assert found.bytes_jpeg > 50 * found.bytes_read
    assert found.files
    assert all(file.labels[0].probability >= 0.2 for file in found.files)
    assert gallery.search("no such word").files == []
