"""From which validation on each variable is readable."""
