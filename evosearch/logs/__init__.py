"""What of a run is written for other programs."""
