"""Models of sequences: transformers, also of an image's patches, and LSTMs."""
