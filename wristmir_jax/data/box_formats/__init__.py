"""Region boxes and bone outlines that people drew with other tools, one file a format."""
