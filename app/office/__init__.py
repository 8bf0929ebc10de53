"""The office itself: what its papers and pages call it, and how long its steps may take."""
