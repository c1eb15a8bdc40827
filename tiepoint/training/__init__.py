"""A recipe becomes weights: one linear loop that resumes with the same bits after an interruption."""
