"""The parts of the HTML pages: style, script, marks, and one module for each group of sections."""
