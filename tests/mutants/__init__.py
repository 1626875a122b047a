"""Mutants of HCL and ASL: mistakes put in by rule, one at a time, each of which some check must find."""
