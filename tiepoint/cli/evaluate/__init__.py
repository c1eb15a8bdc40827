"""The verbs of `tiepoint evaluate`."""
