"""Authentication, authorization, quotas, and which web pages may send requests."""
