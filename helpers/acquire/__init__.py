"""Get imagery: the embedded packs, and downloads from providers."""
