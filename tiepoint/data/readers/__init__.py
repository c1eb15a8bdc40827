"""Readers of data sets in the layouts of their sources."""
