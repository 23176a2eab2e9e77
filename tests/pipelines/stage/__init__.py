"""Tests of what every stage shares."""
