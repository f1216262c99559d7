"""What `chat_session` is made of: see the first lines of each file."""
