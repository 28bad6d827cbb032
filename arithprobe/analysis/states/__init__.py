"""Linear probes of any states from any network; they need no checkpoint and none of this library's rows."""
