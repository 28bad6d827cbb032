"""What is decodable where in a checkpoint, against its nulls."""
