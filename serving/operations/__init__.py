"""What keeps a server serving: batching, keys, limits, logs, metrics, taking over generations."""
