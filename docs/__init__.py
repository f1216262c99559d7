"""What the README links to, and what makes its pictures."""
