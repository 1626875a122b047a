"""`make demo`: the module on the local AWS. Its stack is also the one that the end-to-end tests apply."""
