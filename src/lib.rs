//! moorline
