"""The alliance's own certificate authority: issues channel certificates, knows which serials are revoked."""
