"""Which weeks of a frozen training set were tampered with: tests that need no clean copy to compare with."""
