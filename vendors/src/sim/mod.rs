//! The platform simulator (under construction in this commit).
