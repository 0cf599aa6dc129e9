"""`python -m halftime`."""

from halftime.cli import main

raise SystemExit(main())
