"""Timings, in ratios within one run."""
