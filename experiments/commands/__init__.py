"""The verbs of the command line, the only place that knows Click."""
