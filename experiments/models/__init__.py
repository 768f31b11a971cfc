"""Model architectures, one a file, as Flax NNX modules."""
