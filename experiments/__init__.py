"""Compiled training of the tasks on which grokking is studied, and its records."""
