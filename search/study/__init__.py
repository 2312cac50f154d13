"""The record of a run: trials, ranking, finals, backup."""
