"""What models are trained to do: a file a task, each with its loss, its metrics and its best guess."""
