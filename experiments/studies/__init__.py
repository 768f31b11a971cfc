"""Questions and their answers: hours of training, and their pages."""
