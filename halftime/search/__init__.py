"""Search: finds a faster recipe; so far, runs the proof that one recipe is faster than another."""
