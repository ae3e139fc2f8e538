"""Networks as plain modules: norms, layers, models, their initial weights and their loss."""
