"""The verbs of `tiepoint export`."""
