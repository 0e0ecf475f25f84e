"""The methods of a comparison, one file a runner; `registry` lists them, their meaning and their claims."""
