"""What goes over the wire: requests, answers and problems, as pydantic models with examples."""
