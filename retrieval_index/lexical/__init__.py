"""BM25 over passages: analysis of text, blocks of postings on disk, search over many of them."""
