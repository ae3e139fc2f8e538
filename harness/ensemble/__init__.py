"""Many models as one: backends that train a cohort as one program, its optimizers, precision and devices."""
