"""Training and evaluating on examples that stay on disk."""
