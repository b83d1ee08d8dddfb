"""A sample of a generation on a plane, near beside near: the embedding map."""
