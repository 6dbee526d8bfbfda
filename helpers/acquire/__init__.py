"""Getting imagery: the embedded packs, and later downloads from providers."""
