"""Measure: the clock, the plan of a run, scores, time to target, noise, proof and cost."""
