"""The rooms of tiepoint in their order, which tests/test_imports.py and docs/architecture.md both hold."""

from __future__ import annotations

# From the ground up: a room imports from itself and from the rooms before it, without exception.
ROOMS = (
    "errors", "types", "version", "allocator", "options", "parsed", "names", "files",
    "losses", "nets", "images", "patches", "models", "features", "geometry", "data", "structure", "dense", "matching",
    "registration", "evaluation", "report", "export", "batch", "training", "cli",
)  # fmt: skip
