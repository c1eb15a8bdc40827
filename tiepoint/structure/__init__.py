"""Two rasters compared without keypoints: orientation fields, global and local search, alignment, ambiguity."""
