"""Reports: one HTML page from the JSON files of an evaluation or of a comparison."""
