//! The rules that keep the tree in shape, as tests.
