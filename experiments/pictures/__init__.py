"""Records to figures."""

FORMATS = (".png", ".pdf", ".svg")
"""Of pictures, by the suffix of their files."""
