//! Nothing but tests: independent implementations that judge ours.
