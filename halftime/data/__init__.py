"""Data: readers, batches and the resumable order. Useful without the rest of halftime."""
