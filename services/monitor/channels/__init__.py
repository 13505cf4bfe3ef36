"""The ways by which a message leaves: Telegram, and what the library apprise reaches."""
