"""What to run: trials, suites, claims, and how a grid is cut into cohorts. Never imports torch."""
