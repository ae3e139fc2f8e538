"""From verdicts to a report: figures, tables, one page. Never imports torch."""
