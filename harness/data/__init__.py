"""What models learn from: datasets, where they come from, and the files that they lie in."""
