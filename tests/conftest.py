"""Puts the helpers beside this file (`synthetic`) where every test can import them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
