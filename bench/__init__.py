"""Every performance figure the project quotes, each beside its peer or physical limit in the same run."""
