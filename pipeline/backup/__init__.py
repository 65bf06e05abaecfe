"""The station in another folder, encrypted, signed, and how it comes back."""
