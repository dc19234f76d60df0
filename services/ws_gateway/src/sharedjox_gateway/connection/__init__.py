"""One socket's life: entry, handshake, frames in, frames out, close."""
