"""Procedural imagery that looks like satellite pictures, for the demo and the tests."""
