"""Networks that describe one patch: a patch in, a descriptor out."""
