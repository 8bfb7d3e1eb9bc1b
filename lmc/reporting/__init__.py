"""What is drawn of a results document: figures, pages and tables."""
