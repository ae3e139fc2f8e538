"""The drill: a small suite interrupted in every way, to see that results survive on this machine and its disks."""
