"""What the answers lose without what is decodable."""
