"""Where data come from, beside functions that return arrays: each kind of source is read into such arrays."""
