"""CT in, attenuation out; knows no camera."""
