"""Diagnose: one file per symptom."""
