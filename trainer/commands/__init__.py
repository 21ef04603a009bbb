"""The trainer's commands; each module adds its own and imports what it needs only when it runs."""
