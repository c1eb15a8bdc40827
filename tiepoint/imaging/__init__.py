"""Whole images: frames, patches, keypoints, matches, geometry."""
