"""What can be compared between arms: what each quantity is called, its unit, its good direction, how failures count."""
