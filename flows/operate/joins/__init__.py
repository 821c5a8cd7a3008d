"""Steps with several inputs: their time, the rows that they make, and the joins."""
