"""The desk left alone for long under faults: memory flat, every alert explained, the books right in the end."""
