"""From results to verdicts: statistics, comparisons and claims. Never imports torch."""
