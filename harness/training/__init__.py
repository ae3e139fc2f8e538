"""The training loop: the one loop that trains a whole cohort, its state, and what interrupts it."""
