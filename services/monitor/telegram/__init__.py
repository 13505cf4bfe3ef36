"""The desk on a phone: what people write to its bot, and pictures for them."""
