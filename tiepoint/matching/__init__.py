"""Two sets of features become matches: nearest neighbours, shortlists for relaters, rotations."""
