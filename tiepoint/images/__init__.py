"""An image file becomes one grey raster with a mask of valid pixels and, where it has one, a georeference."""
