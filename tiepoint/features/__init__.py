"""A raster becomes keypoints with local affine frames, and patches cut at them become descriptors."""
