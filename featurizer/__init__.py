"""Pixels to vector, and what a stored vector is.  Knows no Beam, no FAISS, no HTTP."""
