"""Predictions for whole files: read in chunks, resumable, written in one step."""
