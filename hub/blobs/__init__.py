"""Content-addressed bytes out of band: uploads that resume, downloads for those they were published to."""
