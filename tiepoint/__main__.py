"""`python -m tiepoint`."""

from tiepoint.cli import main

raise SystemExit(main())
