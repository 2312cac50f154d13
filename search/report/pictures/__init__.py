"""The pictures of a report, one file each: its data, its figure and its sentence. `page.PICTURES` lists them."""
