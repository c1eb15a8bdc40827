"""Readers and builders of PatchSets, sampling and augmentation."""
