"""From examples to ranked rows: what a search means.  Knows the engine, but no HTTP."""
