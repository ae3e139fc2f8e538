"""Reports made where they are out of date, and a page while a run is under way."""
