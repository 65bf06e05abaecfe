"""Requests and answers of the service, a file a noun. Times are UTC; units stand in the names."""
