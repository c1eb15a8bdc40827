"""The HPatches patch benchmark: verification, matching and retrieval as its Python code defines them.

Balntas, Lenc, Vedaldi, Mikolajczyk: HPatches (CVPR 2017). `run.evaluate_hpatches` runs all three tasks on descriptors
{sequence: (16, n, D)} as `descriptors` makes or reads them.
"""
