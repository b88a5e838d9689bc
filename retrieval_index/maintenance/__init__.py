"""What happens to an index after its build."""
