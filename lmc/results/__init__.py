"""The results document: what it holds, building, files, comparing."""
