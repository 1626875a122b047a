"""Two workers at once: every pair of functions that may meet, one of them frozen, killed or refused at each of its
effects while the other runs whole (docs/decisions/0024-leases-and-fences.md). `make explore` runs it."""

import sys
from pathlib import Path

# pytest has the bundle on its path by pyproject.toml; `python -m tests.explorer` has it from here.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lambdas"))
