"""What a trial does: norms, models, data, optimizers, and the one loop that trains a whole cohort."""
