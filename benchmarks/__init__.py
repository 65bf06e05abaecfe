"""One command a figure that the documents quote."""
