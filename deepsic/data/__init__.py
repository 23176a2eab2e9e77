"""Data sets: readers of annotated ones, and the photographs that scikit-image ships."""
