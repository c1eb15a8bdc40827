"""Losses of networks that relate pairs of patches."""
