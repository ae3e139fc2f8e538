"""What is known: records, and the tables that are merged from them. Never imports torch."""
