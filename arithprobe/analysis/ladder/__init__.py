"""How far the evidence for a claimed variable reaches."""
