"""Norms that torch lacks, one file each; each says which paper's formula it is."""
