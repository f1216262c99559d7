"""What `chat_session` is made of: `media` (files in) and `prompt` (messages to model inputs)."""
