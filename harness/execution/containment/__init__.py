"""What keeps processes from harming others: nothing outlives its launcher, no trial spoils the next one."""
