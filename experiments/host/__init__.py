"""The loop round the compiled programs: signals, rows, checkpoints, sweeps."""
