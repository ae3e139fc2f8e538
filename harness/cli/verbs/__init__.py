"""One verb a file: a function of its name that takes the options, prints, and returns the exit code."""
