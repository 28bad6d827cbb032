"""The ladder of evidence: how far the evidence for a claimed variable reaches."""
