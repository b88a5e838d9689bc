"""From documents to a segment, and from segments to a new index."""
