"""Compiled and pure: no input, no output, no printing."""
