"""Measurements, side by side with peers; each prints a table and can write JSON."""
