"""The server behind `crossray view`: studies for a session, what matches in them, and what readers say of them."""
