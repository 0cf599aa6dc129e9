"""Ledger: records on disk, the index over them, and checkpoints."""
