//! Files of a stack below `.mayfly`.

pub(crate) mod paths;
pub(crate) mod stack_env;
pub(crate) mod stack_state;
