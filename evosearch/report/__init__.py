"""What a person sees of a run: the live view, the terminal's tables, the HTML report."""
