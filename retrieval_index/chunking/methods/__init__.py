"""The methods of chunking, one file each, and the table they stand in."""
