"""Data sets become PatchSets: readers, builders and downloads; sampling and augmentation for training."""
