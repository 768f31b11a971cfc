"""Runs and sweeps as one page for a browser, which needs nothing but itself."""
