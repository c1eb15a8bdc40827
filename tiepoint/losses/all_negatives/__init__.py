"""Losses on descriptors that weigh every negative of the batch, not only the hardest."""
