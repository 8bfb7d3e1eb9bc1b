"""What a tier costs before it starts."""
