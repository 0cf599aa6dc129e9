"""One body of tests for every method: what holds for all of them, counted."""
