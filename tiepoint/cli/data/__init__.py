"""The verbs of `tiepoint data`."""
