"""From results to a report: statistics, verdicts, figures, one page. Never imports torch."""
