"""Result sets as files, streamed: CSV, GeoJSON, GeoParquet, Parquet with vectors, ImageFolder."""
