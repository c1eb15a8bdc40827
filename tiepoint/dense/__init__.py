"""Descriptors asked everywhere on an image: matching on the grid, search over rotations and scales, evidence."""
