//! The PayFlow controller: a deterministic core, its driver, and the payflow command.
