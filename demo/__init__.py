"""The module on the local AWS: the stack that the demo and the end-to-end tests share."""
