"""What verdicts can show with the seeds that there are, and what more would cost."""
