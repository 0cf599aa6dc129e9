"""Evidence: each method against the same recipe without it, on workloads that it is meant for, for `evidence/`."""
