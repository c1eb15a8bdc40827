"""What measurements of registration share."""
