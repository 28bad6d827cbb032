"""What a linear probe reads from any states, of any network: no checkpoint, no rows of ours."""
