"""Builders of patch sets from images with known correspondences."""
