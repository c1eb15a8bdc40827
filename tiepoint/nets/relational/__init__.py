"""Networks that relate two patches of different spectra: a pair in, a match logit out."""
