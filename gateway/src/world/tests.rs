//! The world on virtual time: conversations without sockets.
