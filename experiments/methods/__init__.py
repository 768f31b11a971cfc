"""What is done with the gradient: filters and optimizers, one file a method."""
