"""Data sets as arrays, one a file."""
