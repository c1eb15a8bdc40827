"""Two sets of features become matches."""
