"""Corresponding points become transforms: robust estimates, model selection, epipolar geometry and warps."""
