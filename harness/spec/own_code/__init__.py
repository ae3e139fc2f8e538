"""What a suite brings: the names of its functions, the modules that it imports, the texts that it is made from."""
