"""Rules that end a training before its last epoch."""
